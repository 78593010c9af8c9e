"""What Stripe tells ends up in the mirror as it is at Stripe, however and how often it is told."""

from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from sandbox.stripe.local import LocalStripe
from tests import make
from webhooks import mirror


def test_the_read_in_leaves_every_seeded_subscription_in_the_mirror(rt: Runtime, local: LocalStripe) -> None:
    stage = make.workspace(rt, local)
    make.read_in(rt)
    world = local.world(stage.account, False)
    with rt.transaction(stage.workspace_id) as session:
        counts = mirror.counts(session, stage.connection_id)
        assert counts["subscriptions"] == len(list(world.all("subscription")))
        assert counts["customers"] == len(list(world.all("customer")))
        for shape, (customer, subscription) in stage.shapes.items():
            kept = mirror.subscription(session, stage.connection_id, subscription)
            assert kept == objects.read_subscription(world.get("subscription", subscription)), shape
            assert kept in mirror.subscriptions_of(session, stage.connection_id, customer)
        assert [coupon.valid for coupon in mirror.coupons(session, stage.connection_id)] == [True] * 6 + [False]
