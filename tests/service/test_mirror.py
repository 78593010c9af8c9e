"""What Stripe tells ends up in the mirror as it is at Stripe, however and how often it is told."""

from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from sandbox.stripe.local import LocalStripe
from tests import make
from webhooks import mirror, projections


def test_the_read_in_leaves_every_seeded_subscription_in_the_mirror(rt: Runtime, local: LocalStripe) -> None:
    stage = make.workspace(rt, local)
    make.read_in(rt)
    world = local.world(stage.account, False)
    with rt.transaction(stage.workspace_id) as session:
        counts = mirror.counts(session, stage.connection_id)
        assert counts["subscriptions"] == len(list(world.all("subscription")))
        assert counts["customers"] == len(list(world.all("customer")))
        assert counts["subscription_schedules"] == len(list(world.all("subscription_schedule"))) > 0
        for shape, (customer, subscription) in stage.shapes.items():
            kept = mirror.subscription(session, stage.connection_id, subscription)
            assert kept == objects.read_subscription(world.get("subscription", subscription)), shape
            assert kept in mirror.subscriptions_of(session, stage.connection_id, customer)
        assert [coupon.valid for coupon in mirror.coupons(session, stage.connection_id)] == [True] * 6 + [False]


def test_one_object_that_cannot_be_kept_does_not_stop_the_others(rt: Runtime, local: LocalStripe) -> None:
    stage = make.workspace(rt, local)
    raw: dict[str, object] = {"object": "product", "active": True}
    found = [
        objects.read_product({**raw, "id": "prod_a", "name": "A"}),
        objects.read_product({**raw, "id": "prod_b", "name": "B", "height": float("inf")}),
        objects.read_product({**raw, "id": "prod_c", "name": "C"}),
    ]
    with rt.transaction(stage.workspace_id) as session:
        assert projections.apply_reads(session, stage.workspace_id, stage.connection_id, found, rt.now()) == 0
        assert set(mirror.product_names(session, stage.connection_id, ["prod_a", "prod_b", "prod_c"])) == {"prod_a", "prod_c"}
