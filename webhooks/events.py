"""An event from its signed bytes: first its envelope, to be kept by; later what it says, and about which object."""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from connect_app.stripe_gateway import objects
from connect_app.stripe_gateway.gateway import API_VERSION

# Payloads from this version on are understood as they are (SPEC W4).
OLDEST_VERSION = "2020-03-02"
DEAUTHORIZED = "account.application.deauthorized"
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_WORD = re.compile(r"[!-~]{1,255}")
_LAST_SECOND = 253_402_300_799
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# What an event of a type is about, when its object is one that we mirror: by the longest prefix of the type.
_MIRRORED = {
    "customer.subscription.": "subscription",
    "customer.": "customer",
    "product.": "product",
    "price.": "price",
    "coupon.": "coupon",
    "invoice.": "invoice",
    "charge.": "charge",
    "subscription_schedule.": "subscription_schedule",
}
# News about something that shows in another object without being one: its object names the one to read again.
_ABOUT_A_DISCOUNT = "customer.discount."
_SHOWS_IN = {"charge.dispute.": "charge", "charge.refund.": "charge"}
# `customer.` is also the first word of these, which are about objects that we do not keep.
_NOT_MIRRORED = ("customer.source.", "customer.tax_id.", "customer.bank_account.", "customer.card.", "customer.entitlements.")


class NotAnEvent(ValueError):
    """Signed, and still no event: nothing that could be kept under an id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What an event is kept by. `account` is '' for the platform's own; `api_version` is '' where the event names none."""

    id: str
    account: str
    livemode: bool
    type: str
    api_version: str
    created_at: datetime
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Something changed about an object: it has to be read again to know what."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of a mirrored object after a change: `kind` is Stripe's name for it, `raw` is storable JSON.

    `beside` is another object in which the change shows, too.
    """

    kind: str
    id: str
    is_deleted: bool
    raw: Mapping[str, object]
    beside: Trigger | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deauthorized:
    """The account has cut us off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalChanged:
    """A configuration of Stripe's billing portal changed: whether customers can cancel there must be looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """News of a type that means nothing to us."""


Meaning = Snapshot | Trigger | Deauthorized | PortalChanged | Unknown


class _Outside(msgspec.Struct):
    """The few fields an event is kept by; the rest of it is only looked at for being JSON."""

    id: str
    type: str
    created: Annotated[int, msgspec.Meta(ge=0, le=_LAST_SECOND)]
    livemode: bool
    object: Literal["event"] = "event"
    account: str | None = None
    api_version: str | None = None


_outside = msgspec.json.Decoder(_Outside)


def envelope(raw: bytes) -> Envelope:
    """The envelope of an event's bytes. Raises NotAnEvent, whatever the bytes are.

    What is inside may still be nonsense: it is kept as it was signed, and put aside by whoever fails to understand it.
    """
    try:
        raw.decode()  # what is skipped is not looked at closely
        event = _outside.decode(raw)
    except (ValueError, RecursionError):
        # Rare: no event, or one with something in it that only Python's own reader takes, such as half a surrogate pair.
        try:
            event = msgspec.convert(_parse(raw), _Outside)
        except msgspec.ValidationError as problem:
            raise NotAnEvent(str(problem)[:200]) from problem
    return Envelope(
        id=_word("id", event.id, _ID),
        account=_word("account", event.account, _ID) if event.account else "",
        livemode=event.livemode,
        type=_word("type", event.type, _WORD),
        api_version=_word("api_version", event.api_version, _WORD) if event.api_version else "",
        created_at=datetime.fromtimestamp(event.created, UTC),
        raw=raw,
    )


@functools.lru_cache(1000)
def is_expected(api_version: str) -> bool:
    """Whether payloads of this version are ones we know the shape of: not from before 2020-03-02, not from after our own."""
    day = api_version.partition(".")[0]
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", day)) and OLDEST_VERSION <= day <= API_VERSION.partition(".")[0]


@functools.lru_cache(1000)
def mirrored(type: str) -> str | None:
    """The kind of mirrored object whose state an event of this type tells; None for one that is about something else."""
    # An upcoming invoice has no id yet.
    if type.startswith((_ABOUT_A_DISCOUNT, *_SHOWS_IN, *_NOT_MIRRORED)) or type == "invoice.upcoming":
        return None
    return next((name for start, name in _MIRRORED.items() if type.startswith(start)), None)


def plain(type: str, raw: bytes) -> Mapping[str, object] | None:
    """The object of an event that tells the state of a living one, fast; None where it takes `understand` to say what the event says."""
    kind = mirrored(type)
    # What text cannot hold has to be replaced first.
    if kind is None or type == f"{kind}.deleted" or b"\\u0000" in raw:
        return None
    try:
        found = msgspec.json.decode(raw)["data"]["object"]
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def understand(type: str, raw: bytes) -> Meaning:
    """What an event of this type says. Raises objects.Malformed (or another ValueError) when it should say something and does not."""
    if type == DEAUTHORIZED:
        return Deauthorized()
    if type.startswith("billing_portal.configuration."):
        return PortalChanged()
    if type.startswith(_ABOUT_A_DISCOUNT):
        # Whose it is shows it best; of before 2020-08-27, it had no id of its own.
        subject = _subject(raw)
        owner = next((kind for kind in ("subscription", "customer") if subject.raw.get(kind) is not None), None)
        return Unknown() if owner is None else _trigger(owner, subject)
    shown_in = next((kind for start, kind in _SHOWS_IN.items() if type.startswith(start)), None)
    if shown_in is not None:
        subject = _subject(raw)
        return Unknown() if subject.raw.get(shown_in) is None else _trigger(shown_in, subject)
    kind = mirrored(type)
    if kind is None:
        return Unknown()
    subject = _subject(raw)
    if subject.maybe_text("object") not in (None, kind):
        raise subject.wrong("object", f"expected {kind} in an event of type {type}")
    is_deleted = subject.flag("deleted", default=False) or (type == f"{kind}.deleted")
    return Snapshot(
        kind=kind,
        id=identity(subject.name(), subject, "id"),
        is_deleted=is_deleted,
        raw=subject.raw,
        beside=_led(subject) if kind == "subscription_schedule" else None,
    )


def _led(schedule: objects.Shape) -> Trigger | None:
    """The subscription that a schedule leads, or has let go."""
    key = next((name for name in ("subscription", "released_subscription") if schedule.raw.get(name) is not None), None)
    return None if key is None else Trigger(kind="subscription", id=identity(schedule.reference(key), schedule, key))


def _trigger(kind: str, subject: objects.Shape) -> Trigger:
    return Trigger(kind=kind, id=identity(subject.reference(kind), subject, kind))


def identity(value: str, shape: objects.Shape, key: str) -> str:
    """`value` if it could be an id in an index and in a URL, else Malformed: owners choose the ids of their coupons and products."""
    if len(value) > 255 or not value.isprintable():
        raise shape.wrong(key, "not an id")
    return value


def storable(value: object) -> object:
    """`value` with what PostgreSQL's text cannot hold (NUL, lone surrogates) replaced by �."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {str(storable(key)): storable(entry) for key, entry in value.items()}
    return [storable(entry) for entry in value] if isinstance(value, list) else value


def _subject(raw: bytes) -> objects.Shape:
    event = _parse(raw)
    # Rare enough to look before walking the whole event.
    if b"\\u0000" in raw or b"\\ud" in raw or b"\\uD" in raw:
        event = {key: storable(value) for key, value in event.items()}
    data = objects.Shape(event).maybe_part("data")
    subject = data.maybe_part("object") if data else None
    if subject is None:
        raise objects.Malformed("data.object", "missing")
    return objects.Shape(subject.raw)


def _parse(raw: bytes) -> Mapping[str, object]:
    """JSON as Stripe writes it: UTF-8 and nothing else, every key once, no NaN, no depth that ends the interpreter's patience."""
    try:
        # json.loads guesses UTF-16 and UTF-32 from bytes, which is why it gets text.
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as problem:
        raise NotAnEvent("the body is not JSON as Stripe writes it") from problem
    if not isinstance(value, dict):
        raise NotAnEvent("the body is not a JSON object")
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number beyond all numbers")
    return number


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _word(key: str, value: str, grammar: re.Pattern[str]) -> str:
    if not grammar.fullmatch(value):
        raise NotAnEvent(f"{key} is not what Stripe would put there")
    return value
