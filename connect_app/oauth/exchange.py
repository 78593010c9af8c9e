"""The two requests of a round trip that Authlib makes: the way to Stripe's authorize page, and the code for an account, once."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
import structlog
from authlib.common.errors import AuthlibBaseError
from flask import Flask, current_app

from connect_app.config import Settings
from connect_app.modes import Mode
from connect_app.oauth.setbacks import Setback

log = structlog.get_logger()

_CONNECT = "https://connect.stripe.com"
_EXTENSION = "stripe_connect"
# Seconds for Stripe to answer the exchange; the browser is waiting.
_TIMEOUT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What Stripe granted. The token itself is forgotten with the exchange: the platform's key and the account's id are enough."""

    account: str
    mode: Mode
    scope: str


def install(app: Flask, settings: Settings) -> None:
    """Round trips go by these settings."""
    app.extensions[_EXTENSION] = functools.cache(lambda: _clients(app, settings))


def _clients(app: Flask, settings: Settings) -> Any:
    """One Authlib client for each mode that this server has keys for."""
    # Wanted when somebody installs, which is once as a rule: until then its four megabytes stay out of the web processes.
    from authlib.integrations.flask_client import OAuth

    oauth = OAuth(app)
    base = settings.stripe_connect_base or _CONNECT
    for mode in settings.modes:
        oauth.register(  # type: ignore[no-untyped-call]
            f"stripe_{mode}",
            client_id=settings.client_id(mode),
            client_secret=settings.secret_key(mode),
            authorize_url=f"{base}/oauth/authorize",
            access_token_url=f"{base}/oauth/token",
            # Stripe takes the secret key in the body and refuses HTTP Basic; without `default_timeout` there is none at all.
            compliance_fix=_notice_rate_limit,
            client_kwargs={"scope": "read_write", "token_endpoint_auth_method": "client_secret_post", "default_timeout": _TIMEOUT},
        )
    return oauth


def _notice_rate_limit(client: Any) -> None:
    """Stripe's "not now" says `error`, too, and Authlib would take it for a no."""

    def look(answer: requests.Response) -> requests.Response:
        if answer.status_code == 429:
            raise requests.HTTPError(response=answer)
        return answer

    client.register_compliance_hook("access_token_response", look)


def authorize_url(mode: Mode, state: str, redirect_uri: str) -> str:
    """Stripe's authorize page for this round trip."""
    url: str = _client(mode).create_authorization_url(redirect_uri, state=state, stripe_landing="login")["url"]
    return url


def trade(mode: Mode, code: str, redirect_uri: str) -> Grant:
    """Exchange the code. To be called once for a code, ever: a second time makes Stripe revoke what the first granted.

    Raises Setback for whatever Stripe may say but yes. No answer is told as such: the code may have been used up, so it is not sent again.
    """
    try:
        answer = _client(mode).fetch_access_token(redirect_uri, code=code, grant_type="authorization_code")
    except AuthlibBaseError as error:
        description = str(error.description or "")
        log.warning("oauth.refused", error=error.error, description=description.replace(code, "[code]"), mode=mode)
        raise Setback("mode_mismatch" if _is_of_other_mode(description) else "refused") from None
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else None
        log.warning("oauth.answer_unusable", status=status, mode=mode)
        raise Setback("stripe_away" if status is None or status == 429 or status >= 500 else "refused") from None
    except (requests.RequestException, ValueError) as error:
        log.warning("oauth.no_answer", problem=type(error).__name__, mode=mode)
        raise Setback("stripe_away") from None
    return _read(answer, mode)


def _read(answer: Mapping[str, Any], mode: Mode) -> Grant:
    """The facts of a token answer, which Authlib has not looked at."""
    account, livemode, scope = (answer.get(name) for name in ("stripe_user_id", "livemode", "scope"))
    if not isinstance(account, str) or not re.fullmatch(r"acct_[A-Za-z0-9]{1,250}", account) or not isinstance(livemode, bool):
        log.warning("oauth.answer_unusable", mode=mode)
        raise Setback("refused")
    if livemode is not mode.livemode:
        raise Setback("mode_mismatch")
    if scope != "read_write":
        raise Setback("read_only")
    return Grant(account=account, mode=mode, scope=scope)


def _is_of_other_mode(description: str) -> bool:
    return "API key but" in description and "authorization code" in description


def _client(mode: Mode) -> Any:
    return current_app.extensions[_EXTENSION]().create_client(f"stripe_{mode}")
