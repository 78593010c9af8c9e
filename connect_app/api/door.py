"""The API's door: a bearer's key is looked up once for each request, and says whose data and which mode it is about."""

from typing import NoReturn

from flask import Blueprint, Response, g, request
from flask_limiter.util import get_remote_address

from connect_app import limits, policy, runtime
from connect_app.errors import Forbidden, NotAuthenticated, NotFound
from connect_app.workspaces import api_keys
from connect_app.workspaces.api_keys import Holder

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
limits.limiter.limit(limits.of("api_address"))(blueprint)

_LONGEST_ID = 255
_MISSING = "Send your API key with each request: `Authorization: Bearer hf_key_…`. Keys are made under Settings, API keys."
_INVALID = "This is no API key that works: it was mistyped, cut off or revoked. Keys are made under Settings, API keys."
_EMBED = "This is an embed secret, which signs hand-offs. The API wants an API key (`hf_key_…`), made under Settings, API keys."


@blueprint.before_request
def enter() -> None:
    """Let in whom the policy table lets in. Nothing but the key is looked at: no cookie, no origin."""
    needed = policy.needs(request.endpoint)
    if needed == policy.PUBLIC:
        return
    if needed != policy.API_KEY:
        raise Forbidden(code="forbidden", message="No key opens this.")
    rt, value = runtime.current(), _bearer()
    with rt.transaction() as session:
        found = api_keys.holder(session, value, rt.now())
    if found is None:
        _refuse("api_key_invalid", _EMBED if value.startswith("hf_embed_") else _INVALID)
    g.holder = found
    limits.count("api_key", lambda: found.key_id)
    # What no id can be is not looked for: the database could not even be asked about it.
    if not all(part.isascii() and part.isprintable() and len(part) <= _LONGEST_ID for part in map(str, (request.view_args or {}).values())):
        raise NotFound(code="not_found", message="There is nothing at this address.")


@blueprint.after_request
def finish(response: Response) -> Response:
    """Nothing is kept by anybody in between, and a refused caller is told what to send."""
    response.headers.setdefault("Cache-Control", "no-store")
    if response.status_code == 401:
        problem = ', error="invalid_token"' if "Authorization" in request.headers else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="Holdfast"{problem}'
    return response


def here() -> Holder:
    """Whose key this request came with."""
    found: Holder = g.holder
    return found


def _bearer() -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not value.strip():
        _refuse("api_key_missing", _MISSING)
    return value.strip()


def _refuse(code: str, message: str) -> NoReturn:
    limits.count("api_refusals", get_remote_address)
    raise NotAuthenticated(code=code, message=message)
