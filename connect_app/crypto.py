"""Sealing secrets for the database: AES-256-GCM under a key ring, each record bound to the row it belongs to."""

import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class SealBroken(Exception):
    """A sealed record does not belong where it was found, or its key is not in the ring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One master key of the ring: its public id and 32 secret bytes."""

    kid: str
    secret: bytes

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose only, so that a leak of one use tells nothing of another."""
        return hmac.new(self.secret, b"holdfast/" + purpose.encode(), hashlib.sha256).digest()


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The master keys, newest first: the newest seals and signs, all of them open and verify."""

    keys: Sequence[Key]

    @property
    def newest(self) -> Key:
        return self.keys[0]

    def get(self, kid: str) -> Key | None:
        """The key called `kid`, or None where it has been retired."""
        return next((key for key in self.keys if key.kid == kid), None)

    def seal(self, value: str, *, table: str, row: str, workspace: str, purpose: str) -> bytes:
        """`kid ‖ NUL ‖ nonce ‖ ciphertext`; it opens only with the same table, row, workspace and purpose."""
        key, nonce = self.newest, os.urandom(12)
        box = AESGCM(key.derive("seal")).encrypt(nonce, value.encode(), _aad(table, row, workspace, purpose))
        return key.kid.encode() + b"\0" + nonce + box

    def open(self, sealed: bytes, *, table: str, row: str, workspace: str, purpose: str) -> str:
        """The value that `seal` was given; raises SealBroken for a swapped, altered or orphaned record."""
        kid, _, rest = sealed.partition(b"\0")
        key = self.get(kid.decode("ascii", "replace"))
        if key is None:
            raise SealBroken(f"no key {kid!r} in the ring")
        try:
            return AESGCM(key.derive("seal")).decrypt(rest[:12], rest[12:], _aad(table, row, workspace, purpose)).decode()
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"a sealed {purpose} does not open in {table} {row}") from error


def _aad(*parts: str) -> bytes:
    # Lengths in front, or ("ab", "c") and ("a", "bc") would be one and the same place.
    return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
