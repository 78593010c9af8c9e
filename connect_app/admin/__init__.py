"""The dashboard: what a workspace's members see and decide."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from connect_app.runtime import Runtime


def register(app: "Flask", _rt: "Runtime") -> None:
    """Hang the dashboard on `app`."""
    # Imported here because opening a workspace needs this package's flows and none of its pages.
    from connect_app.admin.views import blueprint

    app.register_blueprint(blueprint)
