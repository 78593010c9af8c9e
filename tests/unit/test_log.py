"""Logs hold no token and no secret, whatever they are about."""

import base64
import random
from urllib import parse

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


def test_nothing_is_left_of_a_secret_whatever_its_letters_are_and_wherever_it_stands() -> None:
    chance = random.Random(1)
    for _ in range(200):
        key = chance.randbytes(32)
        made = [
            "whsec_" + base64.b64encode(key).decode(),
            "whsec_" + base64.urlsafe_b64encode(key).decode(),
            parse.quote("whsec_" + base64.b64encode(key).decode(), safe=""),
            f"hf_embed_live_{key.hex()}",
            f"hf_key_test_{key.hex()}",
            f"sk_live_{key.hex()}",
            f"rk_test_{key.hex()}",
        ]
        for secret in made:
            prefix = secret.partition("_")[0]
            for place in ("key {} refused", "Bearer {}", "/v1/{}/x", "?s={}&t=1", "'{}'", "old_{}", "{}"):
                left = log.scrub(place.format(secret))
                assert not any(secret[at : at + 6] in left for at in range(len(prefix) + 10, len(secret) - 5)), left
    for purpose, row in (("portal", ids.new("plk")), ("login", ids.new("lgn")), ("session", ids.new("ses"))):
        for epoch in range(70):
            mac = tokens.make(RING, purpose, row, epoch).rpartition(".")[2]
            for place in ("/s/{}", "/s/{}/choose?x=1", "x_{}", "'{}',"):
                left = log.scrub(place.format(f"{row}.k1.{mac}"))
                assert not any(mac[at : at + 6] in left for at in range(len(mac) - 5)), left
