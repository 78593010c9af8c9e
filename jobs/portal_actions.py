"""What follows from a visit to the portal: a card given on Stripe's page is charged for the subscriptions that had one of their own."""

from datetime import timedelta

import structlog
from sqlalchemy import select

from connect_app import connections
from connect_app.models import PortalLink
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.account import AccountGateway
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from connect_app.stripe_gateway.objects import Subscription
from jobs import actions, owners, work

log = structlog.get_logger()

# How soon to look again where another change of the subscription is under way: that may take seconds, or hours while Stripe is down.
_ANOTHER_IS_UNDER_WAY = timedelta(seconds=10)


def follow_card(rt: Runtime, claim: work.Claim) -> work.End:
    """The row is a portal link. Asks for one `payment_method` action for each running subscription with a card that is no longer wanted.

    Stripe makes the new card the customer's default, and a subscription's own payment method goes before that.
    """
    with rt.transaction(claim.tenant) as session:
        link = session.execute(select(PortalLink).where(PortalLink.id == claim.row_id)).scalar_one_or_none()
        connection = connections.by_id(session, link.connection_id) if link is not None and link.connection_id else None
    if link is None or connection is None or connection.state != "connected" or connection.mode not in rt.gateways:
        return work.Done()
    stripe = rt.stripe(connection.mode).account(connection.account)
    try:
        card = stripe.customer(link.customer).value.default_payment_method
        running = _running(stripe, link.customer)
    except Transient as failure:
        return work.Again(problem=f"stripe: {failure}"[:500])
    except (AccessLost, Missing, Refused) as failure:
        not_followed(rt, claim, f"stripe: {failure}"[:500])
        return work.GiveUp(problem=f"stripe: {failure}"[:500])
    if card is None:
        return work.Done()
    behind = [subscription for subscription in running if subscription.default_payment_method not in (None, card)]
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        is_another_under_way = False
        for subscription in behind:
            try:
                actions.ask(
                    session,
                    workspace_id=claim.tenant,
                    mode=connection.mode,
                    connection_id=connection.id,
                    customer=link.customer,
                    subscription=subscription.id,
                    verb="payment_method",
                    intent={"payment_method": card},
                    now=rt.now(),
                    portal_link_id=link.id,
                )
            except actions.InFlight:
                is_another_under_way = True
    if is_another_under_way:
        return work.Again(problem="another action of the subscription is under way", after=_ANOTHER_IS_UNDER_WAY, is_untried=True)
    return work.Done()


def not_followed(rt: Runtime, claim: work.Claim, problem: str) -> None:
    """However often it was tried, nobody can say what the new card is to be charged for: the owners are told."""
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        link = session.execute(select(PortalLink).where(PortalLink.id == claim.row_id)).scalar_one_or_none()
        if link is None:
            return
        log.warning("card.not_followed", link=link.id, problem=problem)
        owners.write(
            rt,
            session,
            link.workspace_id,
            link.mode,
            topic=f"card/{link.id}/{claim.token}",
            subject="A customer's new card is not used for all their subscriptions yet",
            lines=[
                f"The customer {link.customer} has given a new card on Stripe's page. Holdfast could not see whether some of their"
                f" subscriptions still have a card of their own, which goes before it: {problem}",
                "Please look at them in Stripe's dashboard.",
            ],
            page=f"/customers/{link.customer}",
            sign=f"Holdfast, {link.mode} mode",
        )


def _running(stripe: AccountGateway, customer: str) -> list[Subscription]:
    found: list[Subscription] = []
    after: str | None = None
    while True:
        page = stripe.subscriptions(after=after, status=None, customer=customer).value
        found.extend(subscription for subscription in page.items if not subscription.is_ended)
        if not page.has_more or page.last_id is None:
            return found
        after = page.last_id
