"""The frame every customer page is drawn in: the business's name, its headers, and who may frame it."""

from typing import Any

from flask import Response, g, render_template, request

from connect_app import security, tokens
from connect_app.preferences import Preferences
from flow_pages import links, spoken


def enter(business: str, preferences: Preferences, back: str | None = None, leave: str | None = None) -> None:
    """This request belongs to this business: its name is on the page, its origins may frame it.

    `back` is the path of the link, once it is known to be good: where a failure leads back to. From one that is over, `leave` leads away.
    """
    g.flow_business, g.flow_back, g.flow_leave = business, back, leave
    security.allow_images(())
    security.allow_framing(tuple(origin for listed in preferences.allowed_origins if (origin := links.origin_of(listed))))


def draw(template: str, **values: Any) -> str:
    """A page in the business's frame."""
    return render_template(f"flow/{template}", brand={"name": g.get("flow_business", "Your subscription")}, lang=spoken.LANGUAGE, **values)


def finish(response: Response) -> Response:
    """No page with a token in its address is kept, indexed, or told to the next site."""
    if request.endpoint is not None and request.endpoint.endswith(".static"):
        return response
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex"
    return response


def error_page(status: int, code: str, message: str) -> str:
    """A failure on a customer's page: what happened and what to do, without a word about our insides."""
    title = {
        400: "That did not work",
        403: "This page is out of date",
        404: "This page does not exist",
        409: "One moment",
        410: "This link has expired",
        429: "Too many requests",
        503: "We will be right back",
    }.get(status, "Something went wrong")
    back = g.get("flow_back") or _asked_for(status)
    return draw("problem.html", title=title, message=message, code=code, is_expired=status == 410, back=back, leave=g.get("flow_leave"))


def _asked_for(status: int) -> str | None:
    """The link that was asked for, where it was not looked at yet and can be tried again: nobody learns from it whether it is good."""
    token = (request.view_args or {}).get("token")
    kind = next((name for name in ("cancel", "portal") if request.path.startswith(f"/{name}/")), None)
    if status not in (429, 500, 503) or kind is None or not isinstance(token, str) or tokens.parse(token) is None:
        return None
    return f"/{kind}/{token}"
