"""All that a guest of the portal has, as it is listed."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from connect_app.stripe_gateway import objects
from flow_pages import coming, outcome, spoken
from flow_pages.portal import entries, parts, pausing
from flow_pages.portal.guests import Guest
from jobs import actions
from webhooks import mirror


def of(
    session: Session, guest: Guest, held: Sequence[objects.Subscription], done: Mapping[str, outcome.Done], now: datetime
) -> list[entries.Entry]:
    """An entry for each of these subscriptions; `done` is the last of what was asked of each, by its id."""
    names = mirror.product_names(session, guest.connection_id, spoken.names_wanted(held)) if guest.connection_id else {}
    ending = parts.ending(session, guest.connection_id, guest.link.customer, held, now)
    changes = coming.of(session, guest.connection_id, held, spoken.LANGUAGE)
    discounts = mirror.discounts_of(session, guest.connection_id, [one.id for one in held]) if guest.connection_id else {}
    called = spoken.told_apart(held, names, spoken.LANGUAGE)
    return [
        entries.of(
            one,
            called[one.id],
            names,
            done.get(one.id),
            guest,
            coming=changes.get(one.id),
            ending=ending.get(one.id),
            is_voided=one.is_scheduled_to_cancel and actions.has_voided(session, guest.connection_id, one.id),
            discounts=discounts.get(one.id, ()),
            can_pause=pausing.offered(session, guest, one, now) is not None,
            now=now,
        )
        for one in held
    ]


def is_waiting(held: Sequence[objects.Subscription], done: Mapping[str, outcome.Done], now: datetime) -> bool:
    """Whether anything of it is about to change."""
    return any(found.is_in_flight or entries.is_behind(one, found, now) for one in held if (found := done.get(one.id)) is not None)
