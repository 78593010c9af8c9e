"""Was it a save? The table of SPEC section 11 as a pure function of what the session shows, what billing shows, and the time."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

# So long after the last thing a customer did, without a choice, they have left the flow and stayed.
ABANDONED_AFTER = timedelta(minutes=30)

State = Literal["open", "canceled", "watch", "saved", "paused", "lost", "unknown"]
How = Literal["offer", "kept", "abandoned", "reduced", "undone", "resubscribed"]
Verb = Literal["accept", "cancel"]
Kind = Literal["missing", "ended", "leaving", "paused", "owing", "paying"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What has become of a session. `interval_ends_at` is there from the moment it is on watch; `door` where it is lost."""

    state: State
    since: datetime
    how: How | None = None
    door: str | None = None
    interval_ends_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What the session shows. Of the choice: its verb, when it was made, when its change was verified (None: not, or not yet).

    `undone_at` is when a cancellation was seen to be taken back, after this session's own or by it. `interval` is the save interval as
    it was set at the first look. `is_partial`: the cancel was of one item, and the rest of the subscription goes on.
    """

    shown_at: datetime
    last_activity_at: datetime
    interval: timedelta
    kept_at: datetime | None = None
    choice: Verb | None = None
    chosen_at: datetime | None = None
    verified_at: datetime | None = None
    undone_at: datetime | None = None
    is_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What billing shows of the customer's subscription, `as_of` Stripe's time.

    `missing`: there is no such subscription. `ended`: over, or unpaid for good. `leaving`: it will end. `paused`: nothing is collected.
    `owing`: its last invoice is not paid. `paying`: active or on trial, and none of these. `left_at` is when it ended or was set to end,
    `door` by which way; `charged_at` is when the newest of its paid invoices was made. Where the customer left and came back in time with
    another subscription, that one is shown: `successor_at` is when they first did.
    """

    kind: Kind
    as_of: datetime
    left_at: datetime | None = None
    door: str | None = None
    charged_at: datetime | None = None
    successor_at: datetime | None = None


def settled(was: Outcome | None, visit: Visit, standing: Standing | None, now: datetime) -> list[Outcome]:
    """The transitions that are due, in their order; empty where nothing changes. `standing` is None where nobody has looked at billing."""
    steps: list[Outcome] = []
    while (after := following(was, visit, standing, now)) is not None:
        steps.append(after)
        was = after
        if len(steps) > 4:
            raise RuntimeError(f"an outcome goes round in a circle: {[step.state for step in steps]}")
    return steps


def following(was: Outcome | None, visit: Visit, standing: Standing | None, now: datetime) -> Outcome | None:
    """The next outcome, one row of the table further; None where it stays as it is."""
    after = _next(was, visit, standing, now)
    here = was or Outcome(state="open", since=visit.shown_at)
    same = (after.state, after.how, after.door, after.interval_ends_at) == (here.state, here.how, here.door, here.interval_ends_at)
    return None if same else after


def back_by(was: Outcome | None, visit: Visit, *, ended_at: datetime, back_at: datetime | None, now: datetime) -> datetime:
    """Until when another subscription counts as coming back, for who left one that ended, or will end, at `ended_at`.

    Who canceled here: a save interval from that end, or from `back_at`, when they first had come back. Else: the save's own interval.
    """
    fired = _fired(was, visit, now)
    if fired is None or (visit.choice == "cancel" and visit.undone_at is None and not visit.is_partial):
        return (back_at or ended_at) + visit.interval
    how, at = fired
    if was is not None and was.how == how and was.interval_ends_at is not None:
        return was.interval_ends_at
    return at + visit.interval


def due_at(outcome: Outcome | None, visit: Visit, now: datetime) -> datetime | None:
    """When time alone will next change something; None where only news can."""
    if visit.choice is not None and visit.verified_at is None:
        moment = (visit.chosen_at or visit.last_activity_at) + visit.interval
    elif outcome is None or outcome.state == "open":
        moment = visit.last_activity_at + ABANDONED_AFTER
    elif outcome.state == "watch" and outcome.interval_ends_at is not None:
        moment = outcome.interval_ends_at
    else:
        return None
    return moment if moment > now else None


def wants_look(outcome: Outcome | None, looked_at: datetime | None, now: datetime) -> bool:
    """Whether billing has to be asked, and not only the mirror: once when a save fires, and once when its interval is over."""
    if outcome is None or outcome.state not in ("watch", "paused", "unknown") or outcome.interval_ends_at is None:
        return False
    if looked_at is None or (outcome.state == "watch" and looked_at < outcome.since):
        return True
    return outcome.state == "watch" and looked_at < outcome.interval_ends_at <= now


def _next(was: Outcome | None, visit: Visit, standing: Standing | None, now: datetime) -> Outcome:
    if visit.choice is not None and visit.verified_at is None:
        return _waiting(was, visit, now)
    if visit.choice == "cancel" and visit.verified_at is not None and not visit.is_partial:
        return _canceled(was, visit, standing, now)
    fired = _fired(was, visit, now)
    if fired is None:
        if standing is not None and standing.kind in ("missing", "ended") and _was_over(visit, standing):
            return was if was is not None and was.state == "unknown" else Outcome(state="unknown", since=now)
        return was if was is not None and was.state == "open" else Outcome(state="open", since=visit.shown_at)
    how, at = fired
    return _watched(was, visit, standing, now, how=how, fired_at=at)


def _waiting(was: Outcome | None, visit: Visit, now: datetime) -> Outcome:
    """A choice that nobody has seen carried out says nothing yet, and after the interval it never will."""
    chosen_at = visit.chosen_at or visit.last_activity_at
    if now >= chosen_at + visit.interval:
        return Outcome(state="unknown", since=chosen_at + visit.interval)
    return was if was is not None and was.state == "open" else Outcome(state="open", since=chosen_at)


def _canceled(was: Outcome | None, visit: Visit, standing: Standing | None, now: datetime) -> Outcome:
    at = visit.verified_at or now
    if visit.undone_at is None and standing is not None and standing.successor_at is not None:
        return _watched(was, visit, standing, now, how="resubscribed", fired_at=standing.successor_at)
    if visit.undone_at is not None:
        return _watched(was, visit, standing, now, how="undone", fired_at=visit.undone_at)
    return Outcome(state="canceled", since=at)


def _fired(was: Outcome | None, visit: Visit, now: datetime) -> tuple[How, datetime] | None:
    """How a save fired, and when; None while the customer may still be at it."""
    if visit.choice is not None and visit.verified_at is not None and (visit.choice == "accept" or visit.is_partial):
        return "reduced" if visit.is_partial else "offer", visit.verified_at
    if visit.undone_at is not None:
        return "undone", visit.undone_at
    if visit.kept_at is not None:
        return "kept", visit.kept_at
    left_at = visit.last_activity_at + ABANDONED_AFTER
    # Who comes back to a flow they had left, and chooses nothing again, has not been less on watch meanwhile.
    if left_at <= now or (was is not None and was.how == "abandoned"):
        return "abandoned", left_at
    return None


def _watched(was: Outcome | None, visit: Visit, standing: Standing | None, now: datetime, *, how: How, fired_at: datetime) -> Outcome:
    is_same = was is not None and was.how == how and was.interval_ends_at is not None
    ends_at = was.interval_ends_at if is_same and was is not None and was.interval_ends_at else fired_at + visit.interval
    known = was if is_same and was is not None else Outcome(state="watch", since=fired_at, how=how, interval_ends_at=ends_at)
    known = replace(known, how=how, interval_ends_at=ends_at)
    # What billing showed before the save fired says nothing about it. Stripe's times are whole seconds.
    if standing is None or standing.as_of < fired_at.replace(microsecond=0):
        return known
    if standing.kind == "missing" or (how not in ("undone", "resubscribed") and _was_over(visit, standing)):
        return known if known.state == "unknown" else replace(known, state="unknown", since=now, door=None)
    if standing.kind in ("ended", "leaving"):
        return replace(known, state="lost", since=standing.left_at or standing.as_of, door=standing.door or "outside")
    if known.state in ("lost", "unknown"):
        return replace(known, state="watch", since=standing.as_of, door=None)
    return _stayed(known, standing, now, ends_at)


def _stayed(known: Outcome, standing: Standing, now: datetime, ends_at: datetime) -> Outcome:
    """Nobody has left: what the end of the interval makes of it."""
    if known.state == "saved":
        return known
    if known.state == "paused":
        is_charged = standing.charged_at is not None and standing.charged_at > known.since
        return replace(known, state="saved", since=standing.as_of) if standing.kind == "paying" and is_charged else known
    is_over = now >= ends_at and standing.as_of >= ends_at.replace(microsecond=0)
    if is_over and standing.kind == "paying":
        return replace(known, state="saved", since=standing.as_of)
    if is_over and standing.kind == "paused":
        return replace(known, state="paused", since=standing.as_of)
    return known


def _was_over(visit: Visit, standing: Standing) -> bool:
    """The customer had left before they came, or was never there: nothing that the flow did can have kept them."""
    if standing.kind == "missing":
        return True
    is_over = standing.kind == "ended" or (standing.kind == "leaving" and visit.choice is None)
    if not is_over or standing.left_at is None or standing.successor_at is not None:
        return False
    return standing.left_at < visit.shown_at.replace(microsecond=0)
