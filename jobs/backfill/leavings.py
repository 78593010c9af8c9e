"""What the mirror held before a read-in and Stripe did not list in it: deleted meanwhile, or to be read again to know."""

from datetime import datetime

from sqlalchemy import select

from connect_app.models import Connection
from connect_app.runtime import Runtime
from jobs import work
from webhooks import projections

_BATCH = 500
# Kinds whose lists hold all that there is.
_KINDS = ("product", "price", "coupon", "customer", "subscription")


def read_again(rt: Runtime, claim: work.Claim, connection: Connection, since: datetime) -> int:
    """Ask for every object that no read since `since` (Stripe's time) has brought to be read on its own; gives how many.

    In the order of their ids, a batch to a transaction: asked again after a crash, a row of work that is there stays one.
    """
    asked = 0
    for kind in _KINDS:
        after = ""
        while True:
            model = projections.TABLES[kind].model
            held = select(model.id).where(
                model.connection_id == connection.id, model.id > after, model.as_of < since, model.is_deleted.is_(False)
            )
            with rt.transaction(claim.tenant) as session:
                batch = session.execute(held.order_by(model.id).limit(_BATCH)).scalars().all()
                wanted = {(kind, id): rt.now() for id in batch}
                projections.refetch_all(session, connection.workspace_id, connection.id, wanted)
                claim.fence(session)
            asked += len(batch)
            if len(batch) < _BATCH:
                break
            after = batch[-1]
    return asked
