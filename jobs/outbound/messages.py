"""What a business can be told: each type of message, the data it carries, and both as JSON Schema."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from connect_app.models.base import Json
from connect_app.modes import Mode

Choice = Literal["accept", "cancel"]


class Data(BaseModel):
    """Times are Unix seconds, amounts minor units. `extra` is refused, so that nothing is sent which its schema does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workspace: str
    livemode: bool


class Amount(BaseModel):
    """Money: minor units of a currency in small letters; null where it cannot be said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: int | None
    currency: str


class _Visit(Data):
    session: str
    customer: str
    subscription: str | None


class SessionStarted(_Visit):
    """A customer has opened the flow."""

    is_control: bool = Field(description="Whether they got the plain cancel page.")
    started_at: int


class Answers(_Visit):
    """What the customer answered, as far as they did."""

    reason: str | None = Field(description="The id of the reason in the survey.")
    feedback: str | None = Field(description="The reason as one of Stripe's eight feedback values.")
    comment: str | None


class SessionOutcome(Answers):
    """What became of a session."""

    outcome: Literal["canceled", "watch", "saved", "lost"]
    how: Literal["offer", "kept", "abandoned", "reduced", "undone", "resubscribed"] | None
    door: str | None = Field(description="How a lost one left.")
    since: int
    interval_ends_at: int | None
    at_stake: Amount | None = Field(description="Monthly revenue; see docs/revenue.md.")
    saved: Amount | None
    lost: Amount | None


class Duration(BaseModel):
    """So many of an interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    interval: Literal["day", "week", "month"]


class OfferAccepted(Answers):
    """A customer has accepted an offer. Nothing has been changed on Stripe yet."""

    choice: str
    offer: str
    kind: str
    picked: str = Field(description="What they chose where the offer has several ways: a number of intervals, or a price; else empty.")
    coupon: str | None
    price: str | None = Field(description="Of a plan change.")
    duration: Duration | None = Field(description="Of a pause, an extension, or a longer trial.")
    resumes_at: int | None = Field(description="When a pause or an extension ends.")
    trial_end: int | None = Field(description="When a longer trial ends.")
    payload: dict[str, str] = Field(description="Of a custom offer, as its owner has set it; else empty.")
    headline: str
    terms: tuple[tuple[str, str], ...] = Field(description="Label and value, as the customer read them.")
    accepted_at: int


class Asked(Data):
    """A change to a subscription, in whatever state: what messages and the API say of it alike."""

    action: str
    session: str | None
    choice: str | None
    customer: str
    subscription: str | None
    verb: str
    state: str
    code: str | None
    message: str | None
    intent: dict[str, Any] = Field(
        description="What was asked for; times in it are ISO 8601. Of a cancel `when` (`period_end` or `now`), `invoice_now`, `prorate`,"
        " `open_invoices` (`keep` or `void`), `feedback`, `comment`; of one item (`item_cancel`) also `item`, its id, and its `name`."
        " Of a discount `coupon`, or `mint`: the coupon to make under its `id`."
        " Of a pause or an extension `resumes_at`, of a longer trial `trial_end`. Of a plan change `price`, `when`, `proration`."
        " Of an offer also `offer_id`, `headline`, and `renews_at`: the day of the next bill, as the customer was shown it."
    )
    stripe_request_id: str | None
    asked_at: int
    changed_at: int


class Action(Asked):
    """One change to one subscription. What is needed to make it is in `intent`."""

    state: Literal["requested", "verified", "manual", "failed"]


class Pause(Data):
    """A pause of one subscription, or free time on it, that was made through Holdfast."""

    action: str
    session: str | None
    customer: str
    subscription: str
    behavior: Literal["void", "mark_uncollectible"] = Field(description="`void`: a pause. `mark_uncollectible`: free time.")
    resumes_at: int | None = Field(description="When it ends by itself, as Stripe last had it.")


class PauseEnded(Pause):
    """It is over."""

    how: Literal["ran_out", "resumed", "canceled", "replaced"] = Field(
        description="`resumed`: before its time, by whomever. `canceled`: the subscription ended. `replaced`: by another pause."
    )
    ended_at: int = Field(description="Of a pause that was resumed: when Stripe was first seen without it.")


class ConnectionState(Data):
    """How a workspace's connection to Stripe stands."""

    connection: str
    account: str
    state: Literal["connected", "disconnected"]
    reason: str | None
    can_read: bool | None
    can_write: bool | None
    alerts: tuple[str, ...]


class Test(Data):
    """Sent by *Send test* and by nothing else."""

    endpoint: str
    text: str


TYPES: dict[str, type[Data]] = {
    "session.started": SessionStarted,
    "session.saved": SessionOutcome,
    "session.canceled": SessionOutcome,
    "session.abandoned": SessionOutcome,
    "offer.accepted": OfferAccepted,
    "action.requested": Action,
    "action.verified": Action,
    "action.failed": Action,
    "action.manual": Action,
    "save.validated": SessionOutcome,
    "save.lost": SessionOutcome,
    "pause.started": Pause,
    "pause.ending": Pause,
    "pause.ended": PauseEnded,
    "connection.updated": ConnectionState,
    "endpoint.test": Test,
}
# What an endpoint can choose from.
CHOICES = tuple(kind for kind in TYPES if kind != "endpoint.test")
MEANINGS = {
    "session.started": "A customer opened the flow.",
    "session.saved": "The customer stays for now: an offer took effect, they chose Never mind, or they came back. Not validated yet.",
    "session.canceled": "The cancellation was read back from Stripe.",
    "session.abandoned": "Nothing was chosen for 30 minutes: the customer left the flow and keeps the subscription for now.",
    "offer.accepted": "An offer was accepted. The change itself is told by action.verified, action.manual or action.failed.",
    "action.requested": "Something was asked for that Holdfast does not do itself: yours to do.",
    "action.verified": "A change was read back from Stripe as planned.",
    "action.failed": "A change was not made, and will not be.",
    "action.manual": "A change needs a person.",
    "save.validated": "At the end of the save interval the customer was still paying.",
    "save.lost": "A customer who had stayed has left after all.",
    "pause.started": "A pause, or free time, was read back from Stripe.",
    "pause.ending": "A pause, or free time, ends within three days; the customer has been written.",
    "pause.ended": "A pause, or free time, is over: Stripe shows it no longer.",
    "connection.updated": "The connection to Stripe was made or lost, its permissions changed, or an alert was opened or closed.",
    "endpoint.test": "A test from the dashboard.",
}


def envelope(kind: str, data: Data, at: datetime) -> Json:
    """The message as it is sent: `type`, `timestamp`, `data`, as Standard Webhooks has it."""
    if not isinstance(data, TYPES[kind]):
        raise TypeError(f"{kind} carries {TYPES[kind].__name__}, not {type(data).__name__}")
    at = at.astimezone(UTC)
    return {"type": kind, "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "data": data.model_dump(mode="json")}


def schema(kind: str) -> Json:
    """The JSON Schema of the whole message. Raises KeyError for a type that there is not."""
    data = TYPES[kind].model_json_schema(mode="serialization", ref_template="#/$defs/{model}")
    definitions = data.pop("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind,
        "description": MEANINGS[kind],
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "additionalProperties": False,
        "properties": {"type": {"const": kind}, "timestamp": {"type": "string", "format": "date-time"}, "data": data},
        **({"$defs": definitions} if definitions else {}),
    }


def is_live(mode: str) -> bool:
    """`livemode` as it stands in every message."""
    return Mode(mode).livemode


def seconds(at: datetime) -> int:
    """A time as messages write it."""
    return int(at.timestamp())
