"""The composition root: one Flask application out of settings, a runtime and the packages' blueprints."""

from datetime import timedelta

from flask import Flask, redirect
from flask_wtf.csrf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response

import flow_pages
from connect_app import admin, api, error_pages, handbook, health, limits, oauth, runtime, security, workspaces
from connect_app.config import Settings
from connect_app.runtime import Runtime

# The customer's pages live without cookies: their forms carry a token derived from the link instead. The API knows its callers by key.
COOKIELESS = ("flow", "portal", "embed", "api")


def create_app(settings: Settings, rt: Runtime | None = None) -> Flask:
    """The whole web application on `rt`, or on a runtime of its own made from `settings`; nothing is contacted here."""
    rt = rt or runtime.open_runtime(settings, pool_size=16)
    runtime.use(rt)
    app = Flask("connect_app")
    newest, *older = (key.derive("cookies").hex() for key in settings.ring.keys)
    app.config.update(
        SECRET_KEY=newest,
        SECRET_KEY_FALLBACKS=older,
        SESSION_COOKIE_NAME="holdfast",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.base_url.startswith("https://"),
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=12),
        WTF_CSRF_TIME_LIMIT=12 * 3600,
        # Larger than any form or hand-off of ours; the webhook door, which stands in front, has a limit of its own.
        MAX_CONTENT_LENGTH=1024 * 1024,
        MAX_FORM_MEMORY_SIZE=256 * 1024,
    )
    if settings.holdfast_proxies:
        hops = settings.holdfast_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    security.install(app)
    error_pages.install(app, dict.fromkeys(("flow", "portal"), flow_pages.error_page))
    limits.install(app, rt)
    csrf = CSRFProtect(app)
    for package in (health, handbook):
        app.register_blueprint(package.blueprint)
    flow_pages.register(app)
    for door in (oauth, workspaces, admin, api):
        door.register(app, rt)
    for name in COOKIELESS:
        csrf.exempt(app.blueprints[name])
    app.add_url_rule("/", "front", front)
    return app


def front() -> Response:
    """Nobody's page: whoever comes to the bare address is a member on the way in."""
    return redirect("/sign-in", 303)
