"""The tablet app: the folder of static files that shows a bundle in a browser, offline. Its sources are in `web/`."""

from clinquant.edge.app.write import App, write_app

__all__ = ["App", "write_app"]
