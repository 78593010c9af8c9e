"""Logs hold no token and no secret, whatever they are about."""

from connect_app import ids, log, tokens
from connect_app.crypto import Key, KeyRing

RING = KeyRing((Key(kid="k1", secret=b"s" * 64),))


def test_a_link_token_is_cut_to_its_row() -> None:
    row = ids.new("plk")
    token = tokens.make(RING, "portal", row, 1)
    scrubbed = log.scrub(f"GET /portal/{token}?x=1")
    assert token.rpartition(".")[2] not in scrubbed
    assert row in scrubbed


def test_secrets_are_hidden_by_their_prefix() -> None:
    for secret in ("sk_test_51abc", "rk_live_x", "whsec_abc123", "hf_embed_test_abc", "hf_key_live_abc"):
        assert secret not in log.scrub(f"key {secret} refused")
