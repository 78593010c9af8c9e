"""The first look at a session: which flow and which values it keeps, from the mirror, else by one live read with a small budget."""

from typing import Any

from connect_app.runtime import Runtime
from flow_pages import sessions, spoken, visits
from flow_pages.visits import Visit
from webhooks import enrichment, mapping, mirror


def take(rt: Runtime, token: str) -> Visit:
    """The visit this link leads to, with its values settled. A customer is never blocked by missing data: fallbacks and the control
    flow stand in. Raises NotFound and Gone as `visits.read` does, and NotFound when the subscription turns out to be another's.
    """
    with rt.transaction() as session:
        visit = visits.read(session, rt, token)
    if visit.row.state != "open" or visit.row.variables:
        return visit
    row, found = visit.row, _known(visit)
    is_asked = visit.is_connected and bool(row.subscription) and (visit.subscription is None or visit.customer is None or visit.is_doubtful)
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
    variables = _variables(rt, visit, found)
    with rt.transaction(row.workspace_id) as session:
        if found.subscription is not None and visit.connection is not None and len(found.subscription.items) > 1:
            names = mirror.product_names(session, visit.connection.id, spoken.names_wanted([found.subscription]))
            variables["plan_name"] = {"value": spoken.plan(found.subscription, names), "source": "product.name"}
        sessions.pin(session, visit, variables=variables, subscription=found.subscription)
        again = (
            visits.load(session, row.id) if is_asked or visit.row.control_reason != sessions.reason_now(visit, found.subscription) else None
        )
    if again is None:
        row.variables = variables
        again = visit
    return again


def _known(visit: Visit) -> enrichment.Enriched:
    return enrichment.Enriched(
        subscription=visit.subscription,
        customer=visit.customer,
        product_name=visit.product_name,
        source="mirror" if visit.subscription is not None else None,
        as_of=visit.as_of,
    )


def _variables(rt: Runtime, visit: Visit, found: enrichment.Enriched) -> dict[str, Any]:
    row = visit.row
    fixed = {
        "customer_id": {"value": row.customer, "source": "handoff"},
        "subscription_id": {"value": row.subscription, "source": "handoff"},
    }
    return {**mapping.variables(found, row.custom, now=rt.now(), locale=visit.locale), **fixed}
