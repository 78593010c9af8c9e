"""First purchases: when a customer first paid, asked of Stripe once where the mirror does not reach back far enough to say."""

import time
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import connections
from connect_app.models import Connection, Customer, FirstPurchase, Invoice, Subscription
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from jobs import access, budget, queues, work
from webhooks import catalogue, mapping
from webhooks.catalogue import Subject

FIELD = "first_purchase_date"
_BATCH = 100


def wanted(session: Session, connection: Connection | None, subject: Subject, mappings: Iterable[mapping.Mapping], now: datetime) -> None:
    """Have Stripe asked about this subscriber, where a variable wants it and nobody has yet."""
    if connection is None or connection.state != "connected" or subject.customer is None or subject.purchases.is_first_known:
        return
    if any(one.source == FIELD for one in mappings):
        row_id = f"{connection.id}/{subject.customer_id}"
        queues.enqueue(session, "first_purchase", row_id, connection.workspace_id, due_at=now)


def look_up(rt: Runtime, claim: work.Claim) -> work.End:
    """Ask about the one customer of `claim.row_id`, `connection_id/customer_id`."""
    connection_id, customer = claim.row_id.split("/", 1)
    with rt.transaction(claim.tenant) as session:
        connection = connections.by_id(session, connection_id)
    if connection is None or connection.state != "connected":
        return work.Done()
    return _ask(rt, claim, connection, customer) or work.Done()


def look_up_all(rt: Runtime, claim: work.Claim) -> work.End:
    """Ask about every subscriber of the connection `claim.row_id`, a batch at a time, where a variable wants it. What is known already is
    its own cursor.
    """
    until = time.monotonic() + rt.settings.holdfast_lease_seconds / 3
    while True:
        with rt.transaction(claim.tenant) as session:
            connection = connections.by_id(session, claim.row_id)
            is_wanted = any(one.source == FIELD for one in mapping.of_workspace(session, claim.tenant))
            if connection is None or connection.state != "connected" or not is_wanted:
                return work.Done()
            customers = _unknown(session, connection)
        if not customers:
            return work.Done()
        for customer in customers:
            if (end := _ask(rt, claim, connection, customer)) is not None:
                return end
            if time.monotonic() > until:
                # Asking anew, rather than trying again: this was progress, and progress has no last attempt.
                with rt.transaction(claim.tenant) as session:
                    claim.fence(session)
                    queues.enqueue(session, claim.kind, claim.row_id, claim.tenant, due_at=rt.now())
                return work.Done()


def _unknown(session: Session, connection: Connection) -> list[str]:
    """Subscribers whom nobody has asked about and whose first purchase may lie before the mirror."""
    asked = exists().where(FirstPurchase.connection_id == connection.id, FirstPurchase.customer == Customer.id)
    subscribed = exists().where(
        Subscription.connection_id == connection.id, Subscription.customer == Customer.id, Subscription.is_deleted.is_(False)
    )
    found = select(Customer.id).where(Customer.connection_id == connection.id, Customer.is_deleted.is_(False), ~asked, subscribed)
    if (edge := catalogue.whole_since(connection.read_in)) is not None:
        found = found.where(Customer.created_at <= edge)
    return list(session.execute(found.order_by(Customer.id).limit(_BATCH)).scalars())


def _ask(rt: Runtime, claim: work.Claim, connection: Connection, customer: str) -> work.End | None:
    """Ask and keep; None when it went well."""
    try:
        paid_at = _oldest(rt, connection, customer)
    except Missing:
        paid_at = None
    except AccessLost as loss:
        return access.lost(rt, claim, connection, loss)
    except Transient as failure:
        return work.Again(problem=str(failure))
    except Refused as refusal:
        return work.GiveUp(problem=str(refusal))
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        values = {"workspace_id": claim.tenant, "connection_id": connection.id, "customer": customer}
        row = insert(FirstPurchase).values(**values, paid_at=paid_at, looked_at=rt.now())
        told = {"paid_at": row.excluded.paid_at, "looked_at": row.excluded.looked_at}
        session.execute(row.on_conflict_do_update(index_elements=[FirstPurchase.connection_id, FirstPurchase.customer], set_=told))
    return None


def _oldest(rt: Runtime, connection: Connection, customer: str) -> datetime | None:
    """When the customer's oldest invoice over more than nothing was paid. Stripe lists newest first: what the mirror has is skipped."""
    account = rt.stripe(connection.mode).account(connection.account)
    after, oldest = _known(rt, connection, customer)
    while True:
        budget.wait(rt, connection.account, connection.mode)
        try:
            page = account.invoices(customer=customer, status="paid", after=after).value
        except (Missing, Refused) as refusal:
            # What the list was to go on from was deleted: from its start, then.
            if after is None or refusal.code != "resource_missing":
                raise
            after = None
            continue
        paid = [invoice.paid_at or invoice.created for invoice in page.items if invoice.amount_paid.amount > 0]
        oldest = min((at for at in (oldest, *paid) if at is not None), default=None)
        if not page.has_more or page.last_id is None:
            return oldest
        after = page.last_id


def _known(rt: Runtime, connection: Connection, customer: str) -> tuple[str | None, datetime | None]:
    """The oldest paid invoice that the mirror has of this customer: where to go on from, and when it was paid."""
    with rt.transaction(connection.workspace_id) as session:
        paid = select(Invoice.id, Invoice.paid_at).where(
            Invoice.connection_id == connection.id,
            Invoice.customer == customer,
            Invoice.status == "paid",
            Invoice.amount_paid > 0,
            Invoice.paid_at.is_not(None),
            Invoice.is_deleted.is_(False),
        )
        row = session.execute(paid.order_by(Invoice.created_at, Invoice.id).limit(1)).first()
    return (row.id, row.paid_at) if row else (None, None)
