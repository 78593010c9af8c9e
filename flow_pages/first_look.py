"""The first look at a session: which flow and which values it keeps, from the mirror, else by one live read with a small budget."""

from dataclasses import replace

from connect_app.models.base import Json
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


def take(rt: Runtime, token: str) -> Visit:
    """The visit this link leads to, with its values settled. A customer is never blocked by missing data: fallbacks and the control
    flow stand in. Raises NotFound and Gone as `visits.read` does, and NotFound when the subscription turns out to be another's.
    """
    with rt.transaction() as session:
        visit = visits.read(session, rt, token)
    if visit.row.state != "open" or visit.row.variables:
        return visit
    row, subject = visit.row, visit.subject
    is_asked = (
        closed(visit) is None and bool(row.subscription) and (visit.subscription is None or visit.customer is None or visit.is_doubtful)
    )
    if is_asked and visit.connection is not None:
        found = enrichment.load(
            rt,
            workspace_id=row.workspace_id,
            mode=row.mode,
            connection_id=visit.connection.id,
            customer=row.customer,
            subscription=row.subscription,
        )
        if found.is_of_another:
            raise visits.foreign_subscription()
        subject = _looked_up(rt, visit, found)
    variables = _variables(rt, visit, subject)
    with rt.transaction(row.workspace_id) as session:
        sessions.pin(session, visit, variables=variables, subscription=subject.subscription)
        purchases.wanted(session, visit.connection, subject, visit.mappings, rt.now())
        again = (
            visits.load(session, row.id)
            if is_asked or visit.row.control_reason != sessions.reason_now(visit, subject.subscription)
            else None
        )
    if again is None:
        row.variables = variables
        return visit
    if is_asked and subject.subscription is not None:
        # Read in the very second of other news, it may not be in the mirror yet; what was just seen is what is shown.
        return replace(again, subscription=subject.subscription)
    return again


def closed(visit: Visit) -> str | None:
    """Why this visit is given nothing of Stripe's; None where it is."""
    if not visit.preferences.enrichment:
        return _SWITCHED_OFF
    return None if visit.is_connected else _NOT_CONNECTED


def _looked_up(rt: Runtime, visit: Visit, found: Enriched) -> Subject:
    """The subject once more, with what the live read brought, kept in the mirror by now or not."""
    row = visit.row
    if visit.connection is None:
        return visit.subject
    with rt.transaction(row.workspace_id) as session:
        [subject] = catalogue.load(session, visit.connection.id, [(row.customer, row.subscription)])
    return catalogue.refreshed(subject, subscription=found.subscription, customer=found.customer, as_of=found.as_of, custom=row.custom)


def _variables(rt: Runtime, visit: Visit, subject: Subject) -> Json:
    # Not `visit.reader`: the customer may only just have been looked up.
    resolved = mapping.resolve(visit.mappings, subject, rt.now(), closed=closed(visit))
    return mapping.keep(resolved, spoken.reader(visit.row.locale, subject.customer))
