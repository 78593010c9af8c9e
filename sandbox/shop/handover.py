"""The two handshakes with Holdfast, as any back end would write them: sign, post, get a link; two seconds, then the fallback."""

import hashlib
import hmac
import time
from typing import Any

import requests


class NoAnswer(Exception):
    """Holdfast did not give a link in time: the caller falls back on a page of its own. The text is for the shop's log."""


def cancel_url(shop: dict[str, Any], customer: str, subscription: str, urls: dict[str, str]) -> str:
    """A one-shot link into the cancel flow."""
    timestamp = int(time.time())
    signature = _sign(shop, f"{customer}\n{subscription}\n{timestamp}")
    return _ask(
        shop, "cancel", {"customer": customer, "subscription": subscription, "timestamp": timestamp, "signature": signature, **urls}
    )


def portal_url(shop: dict[str, Any], customer: str) -> str:
    """The customer's long-lived *Manage subscription* link."""
    timestamp = int(time.time())
    return _ask(shop, "portal", {"customer": customer, "timestamp": timestamp, "signature": _sign(shop, f"{customer}\n{timestamp}")})


def _sign(shop: dict[str, Any], message: str) -> str:
    return hmac.new(shop["embed_secret"].encode(), message.encode(), hashlib.sha256).hexdigest()


def _ask(shop: dict[str, Any], what: str, bundle: dict[str, Any]) -> str:
    try:
        answer = requests.post(f"{shop['base_url']}/api/embed/{what}", json={"workspace": shop["workspace"], **bundle}, timeout=2)
        answer.raise_for_status()
        url: str = answer.json()["url"]
    except (requests.RequestException, ValueError, KeyError) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from error
    return url
