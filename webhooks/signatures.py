"""Stripe's signature over the raw bytes of a delivery: which of our secrets made it, and whether it is from now."""

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

# Seconds, both ways. Stripe's own library lets any date in the future pass.
TOLERANCE = 300
_MAX_HEADER = 4096
_TIME = re.compile(r"[0-9]{1,11}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Unsigned(Exception):
    """These bytes were not signed by Stripe for us, or not within the last or next five minutes; the text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    time: str
    digests: tuple[bytes, ...]


def verify(raw: bytes, header: str | None, secrets: Iterable[str], now: float) -> str:
    """The secret under which `raw` was signed (`Stripe-Signature: t=…,v1=…`, any one v1 will do). Raises Unsigned.

    Our own ten lines instead of the SDK's: whatever the header and the bytes, it says no in one way only.
    https://docs.stripe.com/webhooks#verify-manually
    """
    parsed = _parse(header)
    if abs(now - int(parsed.time)) > TOLERANCE:
        raise Unsigned(f"The signature's time is more than {TOLERANCE} seconds away from ours.")
    signed = parsed.time.encode() + b"." + raw
    for secret in secrets:
        expected = hmac.digest(secret.encode(), signed, "sha256").hex().encode()
        if any(hmac.compare_digest(expected, digest) for digest in parsed.digests):
            return secret
    raise Unsigned("No signature in Stripe-Signature was made with a secret this server knows.")


def _parse(header: str | None) -> _Header:
    if not header:
        raise Unsigned("The Stripe-Signature header is missing.")
    if len(header) > _MAX_HEADER or not header.isascii():
        raise Unsigned("The Stripe-Signature header is too long or not ASCII.")
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    digests = tuple(value.encode() for name, _, value in pairs if name == "v1" and _DIGEST.fullmatch(value))
    if len(times) != 1 or not _TIME.fullmatch(times[0]) or not digests:
        raise Unsigned("The Stripe-Signature header is not of the form t=<seconds>,v1=<64 hex digits>.")
    return _Header(time=times[0], digests=digests)
