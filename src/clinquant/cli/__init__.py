"""cli: one command, one file: it parses, calls one verb and prints."""
