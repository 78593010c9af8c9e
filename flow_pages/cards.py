"""A new card at Stripe: their page takes it, we only lead there and back."""

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from datetime import datetime

from sqlalchemy.orm import Session

from connect_app.errors import Unavailable
from connect_app.models import Connection
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import errors
from flow_pages import portals, theme

BUDGET_SECONDS = 2.5
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="card")


def begun(session: Session, workspace_id: str, *, mode: str, customer: str, connection: Connection | None, now: datetime) -> None:
    """Note that this customer is on the way to a new card, so that their subscriptions follow it."""
    link = portals.mint(session, workspace_id, mode=mode, customer=customer, connection_id=connection.id if connection else None, now=now)
    portals.card_update_begun(session, link.id, now)


def page(rt: Runtime, *, mode: str, connection: Connection | None, customer: str, back: str) -> str:
    """The page that leads to Stripe's, which leads back to `back`. Raises Unavailable where Stripe does not answer in time."""
    if connection is None or connection.state != "connected":
        raise _away()
    account = rt.quick_stripe(mode).account(connection.account)
    asked: Future[str] = _threads.submit(lambda: account.card_update_session(customer, return_url=back).value)
    try:
        url = asked.result(BUDGET_SECONDS)
    except (Late, errors.StripeFailure) as failure:
        raise _away() from failure
    return theme.draw("card.html", url=url, back=back)


def _away() -> Unavailable:
    return Unavailable(
        code="card_page_unavailable",
        message="The payment provider’s page for a new card cannot be opened right now. Nothing was changed; please try again in a moment.",
        retry_after=10,
    )
