"""A new card at Stripe: their page takes it, we only lead there and back."""

import base64
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from datetime import datetime, timedelta

from flask import redirect
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from connect_app import crypto
from connect_app.errors import Unavailable
from connect_app.models import Connection, FlowSession, PortalLink
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import errors
from flow_pages import portals, theme

BUDGET_SECONDS = 2.5
# Stripe's own address is good for five minutes.
GOOD_FOR = timedelta(minutes=5)
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="card")


def begun(session: Session, workspace_id: str, *, mode: str, customer: str, connection: Connection | None, now: datetime) -> None:
    """Note that this customer is on the way to a new card, so that their subscriptions follow it."""
    link = portals.mint(session, workspace_id, mode=mode, customer=customer, connection_id=connection.id if connection else None, now=now)
    portals.card_update_begun(session, link.id, now)


def sent(rt: Runtime, link: FlowSession | PortalLink, *, connection: Connection | None, path: str) -> str:
    """The path of our page that leads to Stripe's, which leads back to `path`. Raises Unavailable where Stripe does not answer in time.

    Stripe's address travels sealed for this link and for minutes: nobody else can make us lead anywhere, and we keep it nowhere.
    """
    if connection is None or connection.state != "connected":
        raise _away()
    account = rt.quick_stripe(link.mode).account(connection.account)
    back = f"{rt.settings.base_url}{path}?card"
    asked: Future[str] = _threads.submit(lambda: account.card_update_session(link.customer, return_url=back).value)
    try:
        url = asked.result(BUDGET_SECONDS)
    except (Late, errors.StripeFailure) as failure:
        raise _away() from failure
    until = int((rt.now() + GOOD_FOR).timestamp())
    sealed = rt.ring.seal(f"{until} {url}", table="", row=link.id, workspace=link.workspace_id, purpose="card")
    return f"{path}/card?to={base64.urlsafe_b64encode(sealed).decode()}"


def page(rt: Runtime, link: FlowSession | PortalLink, *, to: str, path: str) -> str | Response:
    """The page that leads to Stripe's; back to `path` where `to` was not made for this link by `sent`, or is too old."""
    try:
        sealed = base64.urlsafe_b64decode(to)
        until, url = rt.ring.open(sealed, table="", row=link.id, workspace=link.workspace_id, purpose="card").split(" ", 1)
    except (ValueError, crypto.SealBroken):
        return redirect(path, 303)
    if rt.now().timestamp() >= int(until):
        return redirect(path, 303)
    return theme.draw("card.html", url=url, back=path, test_text="Test mode" if link.mode == "test" else None)


def _away() -> Unavailable:
    return Unavailable(
        code="card_page_unavailable",
        message="The payment provider’s page for a new card cannot be opened right now. Nothing was changed; please try again in a moment.",
        retry_after=10,
    )
