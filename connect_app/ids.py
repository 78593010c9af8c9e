"""Ids: a prefix that names the thing, then 48 bits of time and 80 bits of chance, so that rows sort by age and cannot be guessed."""

import secrets
import time

# Crockford's base 32 keeps the order of the bytes it spells, and leaves out the letters people misread.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new(prefix: str) -> str:
    """A fresh id such as `ses_0ckq…`: the prefix and 26 characters, ordered by the millisecond it was made in."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    letters = []
    for _ in range(26):
        number, rest = divmod(number, 32)
        letters.append(_ALPHABET[rest])
    return f"{prefix}_{''.join(reversed(letters))}"
