"""evidence: what may be concluded from the predictions of two files. It sees no image and no model."""
