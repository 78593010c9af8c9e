"""A sealed secret opens in its own place only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_app.crypto import Key, KeyRing, SealBroken

OLD, NEW = Key(kid="old", secret=b"o" * 64), Key(kid="new", secret=b"n" * 64)
RING = KeyRing((NEW, OLD))
PLACE = {"table": "embed_secrets", "row": "emb_1", "workspace": "ws_a", "purpose": "embed"}


@given(st.text())
def test_what_was_sealed_opens_again(value: str) -> None:
    assert RING.open(RING.seal(value, **PLACE), **PLACE) == value


@pytest.mark.parametrize("part", list(PLACE))
def test_a_record_moved_elsewhere_does_not_open(part: str) -> None:
    sealed = RING.seal("hf_embed_test_x", **PLACE)
    with pytest.raises(SealBroken):
        RING.open(sealed, **{**PLACE, part: PLACE[part] + "x"})


def test_shifting_a_letter_between_two_parts_is_another_place() -> None:
    sealed = RING.seal("secret", **{**PLACE, "row": "ab", "workspace": "c"})
    with pytest.raises(SealBroken):
        RING.open(sealed, **{**PLACE, "row": "a", "workspace": "bc"})


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    sealed = bytearray(RING.seal("secret", **PLACE))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        RING.open(bytes(sealed), **PLACE)


def test_an_older_key_still_opens_and_a_retired_one_does_not() -> None:
    sealed = KeyRing((OLD,)).seal("secret", **PLACE)
    assert RING.open(sealed, **PLACE) == "secret"
    with pytest.raises(SealBroken, match="no key"):
        KeyRing((NEW,)).open(sealed, **PLACE)


def test_each_purpose_has_a_key_of_its_own() -> None:
    assert NEW.derive("link") != NEW.derive("seal") != NEW.secret
