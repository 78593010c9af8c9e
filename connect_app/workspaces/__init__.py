"""Workspaces: opening one, its Stripe accounts, its people, its embed secrets, and the way in."""

from typing import TYPE_CHECKING

from connect_app.workspaces.directory import Place, by_slug, named
from connect_app.workspaces.logins import admin_link

if TYPE_CHECKING:
    from flask import Flask

    from connect_app.runtime import Runtime

__all__ = ["Place", "admin_link", "by_slug", "named", "register"]


def register(app: "Flask", _rt: "Runtime") -> None:
    """Hang signing in, and knowing who is signed in, on `app`."""
    import connect_app.workspaces.identity as identity
    import connect_app.workspaces.signing_in as signing_in

    identity.install(app)
    app.register_blueprint(signing_in.blueprint)
