"""Connect OAuth: the authorize page, codes that work once, tokens, and deauthorizing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from sandbox.stripe import accounts, pages
from sandbox.stripe.wire import Obj, Reply, Request, decode, key_of, to_json
from sandbox.stripe.worlds import word

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe

CODE_SECONDS = 300
_SCOPES = ("read_only", "read_write")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ASKED = ("client_id", "redirect_uri", "response_type", "scope", "state", "stripe_landing", "always_prompt")


class Refusal(Exception):
    """An OAuth error: `error` and `error_description`."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status, self.error, self.description = status, error, description


def authorize(local: LocalStripe, request: Request) -> Reply:
    """`GET` shows the page, `POST` takes the decision; both send the browser back to a redirect URI that is the platform's."""
    raw = decode(request.query if request.method == "GET" else request.body.decode(errors="replace"))
    asked = {name: raw[name] for name in _ASKED if isinstance(raw.get(name), str)}
    livemode = local.mode_of_client(asked.get("client_id", ""))
    if livemode is None:
        return pages.problem("No application matches the supplied client identifier.")
    back = asked.get("redirect_uri") or (local.redirect_uris[0] if local.redirect_uris else "")
    if not _is_registered(local, back):
        return pages.problem(f"Invalid redirect URI '{back}'. Ensure this URI exactly matches one of those specified in your settings.")
    state = {"state": asked["state"]} if "state" in asked else {}

    def away(**answer: str) -> Reply:
        return pages.redirect(back + ("&" if urlsplit(back).query else "?") + urlencode({**answer, **state}))

    scope = asked.get("scope", "read_only")
    if asked.get("response_type") != "code":
        return away(error="unsupported_response_type", error_description="The response type must be 'code'.")
    if scope not in _SCOPES:
        return away(error="invalid_scope", error_description=f"Invalid scope provided: {scope}.")
    if request.method == "GET":
        listed = [(id, account["business_profile"]["name"]) for id, account in local.accounts.items() if id != local.platform]
        return pages.authorize(local.platform_name, "live" if livemode else "test", scope, listed, asked)
    if raw.get("decision") != "authorize":
        return away(error="access_denied", error_description="The user denied your request")
    account = str(raw.get("account"))
    if account not in local.accounts or account == local.platform:
        return pages.problem("There is no such account.")
    if account in local.controlled and scope == "read_write":
        return away(
            error="access_denied",
            error_description="This account is controlled by another platform, so it cannot be connected with read_write scope.",
        )
    code = "ac_" + word(32)
    local.codes[code] = {"account": account, "livemode": livemode, "scope": scope, "until": time.time() + CODE_SECONDS, "used": False}
    return away(scope=scope, code=code)


def _is_registered(local: LocalStripe, url: str) -> bool:
    if local.redirect_uris:
        return url in local.redirect_uris
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and parts.hostname in _LOOPBACK


def token(local: LocalStripe, request: Request) -> Reply:
    """`POST /oauth/token`: exchange a code, once."""
    return _answered(local, request, _exchange)


def deauthorize(local: LocalStripe, request: Request) -> Reply:
    """`POST /oauth/deauthorize`: the platform lets an account go."""
    return _answered(local, request, _let_go)


def _answered(local: LocalStripe, request: Request, verb: object) -> Reply:
    raw = decode(request.body.decode(errors="replace"))
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    try:
        livemode = _authenticated(local, request, raw)
        body: Obj = verb(local, raw, livemode)  # type: ignore[operator]
        return Reply(headers=headers, body=to_json(body))
    except Refusal as refusal:
        told = {"error": refusal.error, "error_description": refusal.description}
        return Reply(status=refusal.status, headers=headers, body=to_json(told))


def _authenticated(local: LocalStripe, request: Request, raw: Obj) -> bool:
    found = key_of(request.headers)
    if found and found[1] == "basic":
        raise Refusal(
            401, "invalid_client", "HTTP Basic is not accepted here: send your secret key as `client_secret` or as a Bearer token."
        )
    key = found[0] if found else raw.get("client_secret")
    for livemode, secret in local.keys.items():
        if key == secret:
            return livemode
    raise Refusal(401, "invalid_client", f"Invalid API Key provided: {str(key)[:8]}********" if key else "No API key was provided.")


def _exchange(local: LocalStripe, raw: Obj, livemode: bool) -> Obj:
    grant = raw.get("grant_type")
    if grant is None:
        raise Refusal(400, "invalid_request", "Missing required param: grant_type.")
    if grant != "authorization_code":
        raise Refusal(400, "unsupported_grant_type", f"Unsupported grant type: {grant}")
    if not isinstance(code := raw.get("code"), str):
        raise Refusal(400, "invalid_request", "Missing required param: code.")
    if "client_id" in raw and local.mode_of_client(str(raw["client_id"])) is None:
        raise Refusal(400, "invalid_grant", f"Authorization code provided does not belong to you: {code}")
    entry = local.codes.get(code)
    if entry is None:
        raise Refusal(400, "invalid_grant", f"Authorization code does not exist: {code}")
    if entry["livemode"] != livemode:
        key, only = ("livemode", "test") if livemode else ("testmode", "live")
        raise Refusal(400, "invalid_grant", f"Passed in {key} API key but authorization code only supports returning {only} keys")
    if entry["used"]:
        accounts.disconnect(local, entry["account"], livemode)
        told = "This authorization code has already been used. All tokens issued with this code have been revoked."
        raise Refusal(400, "invalid_grant", told)
    if time.time() > entry["until"]:
        raise Refusal(400, "invalid_grant", f"Authorization code expired: {code}")
    entry["used"] = True
    accounts.connect(local, entry["account"], livemode, entry["scope"])
    mode = "live" if livemode else "test"
    access = f"sk_{mode}_{word(24)}"
    local.tokens[access] = (entry["account"], livemode)
    return {
        "access_token": access,
        "livemode": livemode,
        "refresh_token": "rt_" + word(24),
        "scope": entry["scope"],
        "stripe_publishable_key": f"pk_{mode}_{word(24)}",
        "stripe_user_id": entry["account"],
        "token_type": "bearer",
    }


def _let_go(local: LocalStripe, raw: Obj, livemode: bool) -> Obj:
    account = raw.get("stripe_user_id")
    if not isinstance(account, str):
        raise Refusal(400, "invalid_request", "Missing required param: stripe_user_id.")
    if raw.get("client_id") != local.client_ids[livemode]:
        raise Refusal(401, "invalid_client", f"No such application: '{raw.get('client_id')}'")
    if not accounts.disconnect(local, account, livemode):
        told = f"This application is not connected to stripe account {account}, or that account does not exist."
        raise Refusal(401, "invalid_client", told)
    return {"stripe_user_id": account}
