"""The dashboard's pages, one module for each entry of its menu."""

from connect_app.admin.desk import blueprint
from connect_app.admin.views import (
    analytics,
    api_keys,
    audiences,
    customers,
    flows,
    home,
    mappings,
    offers,
    outbound,
    queue,
    sessions,
    settings,
    stripe,
)

__all__ = [
    "analytics",
    "api_keys",
    "audiences",
    "blueprint",
    "customers",
    "flows",
    "home",
    "mappings",
    "offers",
    "outbound",
    "queue",
    "sessions",
    "settings",
    "stripe",
]
