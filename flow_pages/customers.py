"""A customer the mirror does not know yet: their subscriptions, read from Stripe once and kept, within a small budget."""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late

import structlog
from sqlalchemy import exists, select

from connect_app.models import Connection, Subscription
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import errors
from webhooks import projections

log = structlog.get_logger()

BUDGET_SECONDS = 2.0
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="customer")


def look_up(rt: Runtime, connection: Connection | None, mode: str, workspace_id: str, customer: str) -> bool:
    """Make sure the mirror holds this customer's subscriptions, if it held none; False where Stripe could not be asked in time."""
    if connection is None:
        return False
    with rt.transaction(workspace_id) as session:
        mine = exists().where(Subscription.connection_id == connection.id, Subscription.customer == customer)
        if session.execute(select(mine)).scalar_one():
            return True
    account = rt.quick_stripe(mode).account(connection.account)
    asked = _threads.submit(lambda: account.subscriptions(customer=customer, limit=50))
    try:
        read = asked.result(BUDGET_SECONDS)
    except errors.Missing:
        return True
    except (Late, errors.StripeFailure):
        log.warning("portal.no_answer", connection=connection.id)
        return False
    with rt.transaction(workspace_id) as session:
        for subscription in read.value.items:
            if subscription.customer == customer:
                projections.apply_read(session, workspace_id, connection.id, subscription, read.as_of)
    return True
