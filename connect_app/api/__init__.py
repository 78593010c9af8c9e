"""The API under `/api/v1`: what a business's back end reads and says with a key."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from connect_app.runtime import Runtime


def register(app: "Flask", _rt: "Runtime") -> None:
    """Hang the API on `app`."""
    from connect_app.api.views import blueprint

    app.register_blueprint(blueprint)
