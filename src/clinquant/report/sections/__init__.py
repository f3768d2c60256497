"""sections: from evidence and predictions to the words and figures each part of the page shows."""
