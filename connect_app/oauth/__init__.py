"""The Connect round trip: what installing asks for, Stripe's authorize page and back, and letting an account go."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from connect_app.runtime import Runtime


def register(app: "Flask", rt: "Runtime") -> None:
    """Hang `/install` and `/oauth` on `app`."""
    from connect_app.oauth import exchange, views

    exchange.install(app, rt.settings)
    app.register_blueprint(views.blueprint)
