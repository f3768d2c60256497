"""The tablet app: the folder of static files that shows a bundle in a browser, offline. Its sources are in `web/`."""
