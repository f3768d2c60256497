"""data: from a folder, a table or a published set to a study that is audited and split by patient."""
