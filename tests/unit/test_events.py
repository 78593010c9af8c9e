"""Events as bytes: our own check of a signature agrees with Stripe's, and no bytes at all make the envelope stumble."""

import contextlib
import json

import pytest
import stripe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connect_app.stripe_gateway import objects
from webhooks import events, signatures

# A busy machine is slow, which is no failure of a law.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SECRET = "whsec_canary"
NOW = 1_800_000_000


def agrees(raw: bytes, header: str) -> bool:
    try:
        return bool(stripe.WebhookSignature.verify_header(raw.decode(), header, SECRET, None))
    except (stripe.SignatureVerificationError, TypeError, ValueError):
        return False


@PATIENT
@given(st.text().map(str.encode), st.integers(0, 10**10))
def test_what_stripe_s_own_library_signs_we_accept_within_five_minutes(raw: bytes, at: int) -> None:
    header = stripe.WebhookSignature.generate_signature_header(raw.decode(), SECRET, timestamp=at)
    assert signatures.verify(raw, header, ["whsec_other", SECRET], at + 300) == SECRET
    assert signatures.verify(raw, header, [SECRET], at - 300) == SECRET
    for moment in (at + 301, at - 301):
        with pytest.raises(signatures.Unsigned):
            signatures.verify(raw, header, [SECRET], moment)


PARTS = st.sampled_from(["t=", str(NOW), "v1=", "v0=", ",", "=", "a" * 64, "0", "é", " ", "\n", "\0", "t=-1", "٣", "\udcff"])


@PATIENT
@given(st.lists(PARTS, max_size=20).map("".join), st.booleans())
def test_no_header_makes_it_stumble_and_none_passes_that_stripe_s_library_refuses(header: str, is_signed: bool) -> None:
    if is_signed:
        header += "," + stripe.WebhookSignature.generate_signature_header("{}", SECRET, timestamp=NOW)
    try:
        signatures.verify(b"{}", header, [SECRET], NOW)
    except signatures.Unsigned:
        return
    assert agrees(b"{}", header)


def test_with_no_secret_nothing_passes() -> None:
    header = stripe.WebhookSignature.generate_signature_header("{}", "", timestamp=NOW)
    with pytest.raises(signatures.Unsigned):
        signatures.verify(b"{}", header, [], NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(["id", "data", "object"]), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just("evt_1") | JSON,
        "object": st.just("event") | JSON,
        "type": st.sampled_from(["customer.subscription.updated", "invoice.paid", "coupon.deleted", "x"]) | JSON,
        "created": st.just(NOW) | JSON,
        "livemode": st.just(False) | JSON,
        "account": st.just("acct_1") | JSON,
        "api_version": st.just("2026-10-28.endive") | JSON,
        "data": st.fixed_dictionaries({}, optional={"object": JSON}) | JSON,
    },
)


@PATIENT
@given(st.binary() | FIELDS.map(lambda fields: json.dumps(fields).encode()))
def test_whatever_the_bytes_they_are_an_event_or_refused_and_an_event_is_understood_or_malformed(raw: bytes) -> None:
    try:
        envelope = events.envelope(raw)
    except events.NotAnEvent:
        return
    assert envelope.raw == raw
    assert all(word.isascii() and word.isprintable() for word in (envelope.id, envelope.account, envelope.type, envelope.api_version))
    with contextlib.suppress(objects.Malformed):
        events.understand(envelope.type, raw)


@pytest.mark.parametrize(
    ("version", "is_expected"),
    [
        ("2020-03-02", True),
        ("2026-10-28.endive", True),
        ("2025-03-31.basil", True),
        ("2020-03-01", False),
        ("2026-10-29.next", False),
        ("", False),
        ("latest", False),
        ("2020-03-02x", False),
    ],
)
def test_versions_from_2020_to_our_own_are_expected(version: str, is_expected: bool) -> None:
    assert events.is_expected(version) is is_expected


def test_text_that_no_database_holds_is_replaced_wherever_it_stands() -> None:
    value = {"a\0": ["\ud800x", {"b": "\0"}, 7, None]}
    assert events.storable(value) == {"a�": ["�x", {"b": "�"}, 7, None]}
