"""The web page: files that a browser runs, and the routes that hand them out. ``docs/page.md`` describes it."""

from evenwatt_collector.page.routes import page_routes

__all__ = ["page_routes"]
