"""Links that nothing stored can open: each is derived from its row's id, an epoch and a key of the ring."""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

from connect_app.crypto import Key, KeyRing

_TOKEN = re.compile(r"([a-z]{2,4}_[0-9a-z]{26})\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A token of the right form; nothing about it is proven before `verify`."""

    row_id: str
    kid: str
    mac: str


def make(ring: KeyRing, purpose: str, row_id: str, epoch: int) -> str:
    """`<row id>.<key id>.<base64url HMAC-SHA256(link key, purpose ‖ row id ‖ epoch)>`, the same each time it is asked for."""
    return f"{row_id}.{ring.newest.kid}.{_mac(ring.newest, purpose, row_id, epoch)}"


def parse(token: str) -> Parsed | None:
    """The three parts of a token, or None where the text cannot be one."""
    found = _TOKEN.fullmatch(token) if token.isascii() else None
    return Parsed(row_id=found[1], kid=found[2], mac=found[3]) if found else None


def verify(ring: KeyRing, parsed: Parsed, purpose: str, epoch: int) -> bool:
    """Whether this token was made by us, for this purpose, in the row's present epoch."""
    key = ring.get(parsed.kid)
    expected = _mac(key or ring.newest, purpose, parsed.row_id, epoch)
    return hmac.compare_digest(expected.encode(), parsed.mac.encode()) and key is not None


def code(ring: KeyRing, kid: str, row_id: str, nonce: str) -> str | None:
    """Six digits for a person to type, the same each time it is asked for; None where the key called `kid` has been retired."""
    key = ring.get(kid)
    if key is None:
        return None
    digest = hmac.new(key.derive("code"), "\0".join((row_id, nonce)).encode(), hashlib.sha256).digest()
    return f"{int.from_bytes(digest[:8]) % 10**6:06}"


def _mac(key: Key, purpose: str, row_id: str, epoch: int) -> str:
    message = "\0".join((purpose, row_id, str(epoch))).encode()
    digest = hmac.new(key.derive("link"), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
