"""The first look at a session: which flow and which values it keeps, from the mirror, else by one live read with a small budget."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy.orm import Session

from connect_app.runtime import Runtime
from flow_pages import sessions, spoken, visits
from flow_pages.visits import Visit
from jobs import purchases
from webhooks import catalogue, enrichment, mapping
from webhooks.catalogue import Subject
from webhooks.enrichment import Enriched

# Why nothing of Stripe's was read, where that is so; told on the session's page beside each fallback.
_SWITCHED_OFF = "Enrichment is switched off"
_NOT_CONNECTED = "no Stripe account is connected"


@contextmanager
def taken(rt: Runtime, token: str) -> Iterator[tuple[Session, Visit]]:
    """The visit this link leads to, its values settled, in the transaction in which its page is drawn. A customer is never blocked by
    missing data: fallbacks and the control flow stand in. Raises NotFound and Gone as `visits.read` does, and NotFound when the
    subscription turns out to be another's.

    One transaction, unless Stripe has to be asked: then there is one before and one after, and none while we wait.
    """
    with rt.transaction() as session:
        visit = visits.read(session, rt, token)
        if not _is_asked(visit):
            yield session, _settled(session, rt, visit)
            return
    row = visit.row
    found = enrichment.load(
        rt,
        workspace_id=row.workspace_id,
        mode=row.mode,
        connection_id=row.connection_id,
        customer=row.customer,
        subscription=row.subscription,
    )
    if found.is_of_another:
        raise visits.foreign_subscription()
    with rt.transaction(row.workspace_id) as session:
        subject = _looked_up(session, visit, found)
        _pin(session, rt, visit, subject)
        again = visits.load(session, row.id) or visit
        # Read in the very second of other news, it may not be in the mirror yet; what was just seen is what is shown.
        yield session, replace(again, subscription=subject.subscription or again.subscription)


def _is_first(visit: Visit) -> bool:
    return visit.row.state == "open" and not visit.row.variables


def _is_asked(visit: Visit) -> bool:
    """Whether Stripe is to be asked: at the first look, where the mirror lacks this customer or may be wrong about them."""
    if not _is_first(visit) or closed(visit) is not None or not visit.row.subscription:
        return False
    return visit.subscription is None or visit.customer is None or visit.is_doubtful


def _settled(session: Session, rt: Runtime, visit: Visit) -> Visit:
    """The visit with its values, from what the mirror has."""
    if not _is_first(visit) or _pin(session, rt, visit, visit.subject):
        return visit
    return visits.load(session, visit.row.id) or visit


def _pin(session: Session, rt: Runtime, visit: Visit, subject: Subject) -> bool:
    """Keep the values of this subject for all later looks; False where another flow is pinned with them."""
    # Not `visit.reader`: the customer may only just have been looked up.
    resolved = mapping.resolve(visit.mappings, subject, rt.now(), closed=closed(visit))
    variables = mapping.keep(resolved, spoken.reader(visit.row.locale, subject.customer))
    purchases.wanted(session, visit.connection, subject, visit.mappings, rt.now())
    return sessions.pin(session, visit, variables=variables, subscription=subject.subscription)


def closed(visit: Visit) -> str | None:
    """Why this visit is given nothing of Stripe's; None where it is."""
    if not visit.preferences.enrichment:
        return _SWITCHED_OFF
    return None if visit.is_connected else _NOT_CONNECTED


def _looked_up(session: Session, visit: Visit, found: Enriched) -> Subject:
    """The subject once more, with what the live read brought, kept in the mirror by now or not."""
    row = visit.row
    [subject] = catalogue.load(session, row.connection_id or "", [(row.customer, row.subscription)])
    return catalogue.refreshed(subject, subscription=found.subscription, customer=found.customer, as_of=found.as_of, custom=row.custom)
