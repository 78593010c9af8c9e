"""A link opens only what it was made for, and a tampered one opens nothing."""

from hypothesis import given
from hypothesis import strategies as st

from connect_app import ids, tokens
from connect_app.crypto import Key, KeyRing

OLD, NEW = Key(kid="old", secret=b"o" * 64), Key(kid="new", secret=b"n" * 64)
RING = KeyRing((NEW, OLD))
ROW = ids.new("ses")


def opens(token: str, purpose: str = "cancel", epoch: int = 1, ring: KeyRing = RING) -> bool:
    parsed = tokens.parse(token)
    return parsed is not None and tokens.verify(ring, parsed, purpose, epoch)


def test_a_link_is_the_same_each_time_and_opens() -> None:
    token = tokens.make(RING, "cancel", ROW, 1)
    assert token == tokens.make(RING, "cancel", ROW, 1)
    assert opens(token)


def test_a_link_opens_neither_another_purpose_nor_another_epoch() -> None:
    token = tokens.make(RING, "cancel", ROW, 1)
    assert not opens(token, purpose="portal")
    assert not opens(token, epoch=2)


def test_a_link_made_under_an_older_key_opens_until_that_key_is_retired() -> None:
    token = tokens.make(KeyRing((OLD,)), "cancel", ROW, 1)
    assert opens(token)
    assert not opens(token, ring=KeyRing((NEW,)))


@given(st.data())
def test_a_tampered_link_is_refused(data: st.DataObject) -> None:
    token = tokens.make(RING, "cancel", ROW, 1)
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters())
    changed = token[:at] + letter + token[at + 1 :]
    # The last letter of an unpadded base64 text holds two unused bits: the text is compared, not what it decodes to.
    assert opens(changed) == (changed == token)


@given(st.text())
def test_no_text_makes_parsing_fail(text: str) -> None:
    assert tokens.parse(text) is None or "." in text


def test_another_rows_link_does_not_fit_this_row() -> None:
    other = tokens.make(RING, "cancel", ids.new("ses"), 1)
    assert not opens(ROW + other[other.index(".") :])
