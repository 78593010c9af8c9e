"""The customer's side: the hand-off, the hosted flow and the portal."""

from flask import Flask

from flow_pages import embed, portal, theme, views

error_page = theme.error_page


def register(app: Flask) -> None:
    """Hang the customer's pages on `app`. None of them sets a cookie, so CSRF protection by cookie is not theirs: forms carry a token."""
    for blueprint in (embed.blueprint, views.blueprint, portal.blueprint):
        app.register_blueprint(blueprint)
