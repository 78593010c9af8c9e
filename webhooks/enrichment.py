"""What is known about a customer when their flow opens: the mirror's answer, or one live look at Stripe within two seconds."""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from connect_app import connections
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from connect_app.stripe_gateway.answers import Read
from connect_app.stripe_gateway.errors import AccessLost, Missing, StripeFailure
from webhooks import projections

log = structlog.get_logger()
T = TypeVar("T")

BUDGET_SECONDS = 2.0
_THREADS = 8
# News of a subscription that has been kept and is not yet understood.
_UNREAD = """exists(
  select 1 from (
    select e.raw from webhook_pending q join webhook_events e on e.id = q.event_id
    where q.lane_id = {connections}.account || '/' || {connections}.mode order by q.position limit 100
  ) waiting where position(convert_to({subscription}, 'UTF8') in waiting.raw) > 0
)"""


def unread(*, connections: str, subscription: str) -> str:
    """SQL of a condition: whether the mirror's copy of a subscription is from before its last known event. Takes the name of the table
    of connections or its alias, and that of a column or parameter; no user's text.
    """
    return _UNREAD.format(connections=connections, subscription=subscription)


# In doubt: it is to be read again, or there is unread news of it.
_LOADED = text(
    f"""
select s.raw as subscription, s.as_of as as_of, s.is_deleted as is_gone, c.raw as customer, p.name as product_name,
  n.account as account, n.state as state,
  exists(select 1 from work w where w.kind = 'refetch' and w.row_id = :refetch)
    or {unread(connections="n", subscription="cast(:subscription as text)")} as is_doubtful
from connections n
left join subscriptions s on s.connection_id = n.id and s.id = :subscription
left join customers c on c.connection_id = n.id and c.id = :customer and not c.is_deleted
left join prices r on r.connection_id = n.id and r.id = s.price
left join products p on p.connection_id = n.id and p.id = coalesce(r.product, s.raw #>> '{{items,data,0,price,product}}')
where n.id = :connection
"""  # noqa: S608  names only
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enriched:
    """What could be learned in time; whatever could not is None. `source` says where the subscription comes from, `as_of` from when.

    `is_of_another` is true when the subscription exists and belongs to another customer: nothing of it is told.
    """

    subscription: objects.Subscription | None = None
    customer: objects.Customer | None = None
    product_name: str | None = None
    source: str | None = None
    as_of: datetime | None = None
    is_of_another: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What the mirror answers."""

    subscription: objects.Subscription | None
    customer: objects.Customer | None
    product_name: str | None
    as_of: datetime | None
    is_doubtful: bool
    account: str


def load(rt: Runtime, *, workspace_id: str, mode: str, connection_id: str | None, customer: str, subscription: str | None) -> Enriched:
    """Enrich one customer's visit; never raises for what Stripe or the mirror lack, and holds nothing open while it waits for Stripe.

    `subscription` is None (or empty) at the portal. One query where the mirror knows enough.
    """
    if connection_id is None:
        return Enriched()
    held = _held(rt, workspace_id, connection_id, customer, subscription or "")
    if held is None:
        return Enriched()
    wants_subscription = bool(subscription) and (held.subscription is None or held.is_doubtful)
    if not wants_subscription and held.customer is not None:
        return _enriched(held.subscription, "mirror", held.as_of, held.customer, held.product_name, customer)
    return _live(rt, workspace_id, mode, connection_id, held, customer, subscription if wants_subscription else None)


def _held(rt: Runtime, workspace_id: str, connection_id: str, customer: str, subscription: str) -> _Held | None:
    values = {
        "connection": connection_id,
        "subscription": subscription,
        "customer": customer,
        "refetch": projections.refetch_id(connection_id, "subscription", subscription),
    }
    with rt.transaction(workspace_id) as session:
        found = session.execute(_LOADED, values).first()
    if found is None or found.state != "connected":
        return None
    return _Held(
        subscription=objects.read_subscription(found.subscription) if found.subscription and not found.is_gone else None,
        customer=objects.read_customer(found.customer) if found.customer else None,
        product_name=found.product_name,
        as_of=found.as_of,
        is_doubtful=found.is_doubtful,
        account=found.account,
    )


def _live(rt: Runtime, workspace_id: str, mode: str, connection_id: str, held: _Held, customer: str, subscription: str | None) -> Enriched:
    until = time.monotonic() + BUDGET_SECONDS
    account = rt.quick_stripe(mode).account(held.account)
    asked_subscription = _ask(lambda: account.subscription(subscription)) if subscription else None
    asked_customer = _ask(lambda: account.customer(customer)) if held.customer is None else None
    lost: list[AccessLost] = []
    read_subscription = _answer(asked_subscription, until, lost)
    read_customer = _answer(asked_customer, until, lost)
    reads: list[Read[projections.Mirrored]] = [read for read in (read_subscription, read_customer) if read is not None]  # type: ignore[misc]
    _keep(rt, workspace_id, connection_id, held.account, reads, lost)
    known_customer = held.customer or (read_customer.value if read_customer and not read_customer.value.is_deleted else None)
    if read_subscription is None:
        source = "mirror" if held.subscription else None
        return _enriched(held.subscription, source, held.as_of, known_customer, held.product_name, customer)
    live = read_subscription.value
    name = next((item.price.product_name for item in live.items if item.price.product_name), held.product_name)
    return _enriched(live, "stripe", read_subscription.as_of, known_customer, name, customer)


def _enriched(
    subscription: objects.Subscription | None,
    source: str | None,
    as_of: datetime | None,
    known_customer: objects.Customer | None,
    product_name: str | None,
    customer: str,
) -> Enriched:
    if subscription is None:
        return Enriched(customer=known_customer)
    if subscription.customer != customer:
        return Enriched(customer=known_customer, is_of_another=True)
    return Enriched(subscription=subscription, customer=known_customer, product_name=product_name, source=source, as_of=as_of)


def _keep(
    rt: Runtime, workspace_id: str, connection_id: str, account: str, reads: list[Read[projections.Mirrored]], lost: list[AccessLost]
) -> None:
    """What was read once need not be read again; a failure to keep it is no failure of the visit."""
    try:
        with rt.transaction(workspace_id) as session:
            for read in reads:
                projections.apply_read(session, workspace_id, connection_id, read.value, read.as_of)
            if lost:
                connections.lost(session, workspace_id, connection_id, at=rt.now(), reason="access_lost", actor=f"stripe:{account}")
    except (SQLAlchemyError, ValueError):
        log.warning("enrichment.not_kept", connection=connection_id, exc_info=True)


_pool: tuple[int, ThreadPoolExecutor] | None = None


def _ask(read: Callable[[], Read[T]]) -> "Future[Read[T]]":
    """Begin a read in a thread of its own, so that its deadline is ours and not the socket's."""
    global _pool
    if _pool is None or _pool[0] != os.getpid():  # threads do not survive a fork
        _pool = os.getpid(), ThreadPoolExecutor(_THREADS, thread_name_prefix="enrichment")
    return _pool[1].submit(read)


def _answer(asked: "Future[Read[T]] | None", until: float, lost: list[AccessLost]) -> Read[T] | None:
    if asked is None:
        return None
    try:
        return asked.result(max(0.0, until - time.monotonic()))
    except TooSlow:
        asked.cancel()
        log.warning("enrichment.too_slow")
    except Missing:
        pass
    except StripeFailure as failure:
        if isinstance(failure, AccessLost) and failure.is_disconnected:
            lost.append(failure)
        log.warning("enrichment.no_answer", problem=str(failure))
    return None
