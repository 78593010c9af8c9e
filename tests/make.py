"""What tests stand on stage: an environment, a workspace with its connection, secrets, flows."""

from sandbox import embedded
from sandbox.stripe.local import LocalStripe

SECRET_KEYS = embedded.secret_keys()
WEBHOOK_SECRETS = {"TEST": "whsec_test_canary", "LIVE": "whsec_live_canary"}


def environ(local: LocalStripe | None = None) -> dict[str, str]:
    """A complete environment but for the servers' addresses; with `local`, its platform keys in both modes."""
    environ = {
        "DATABASE_URL": "postgresql://nowhere/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "HOLDFAST_SECRET_KEYS": SECRET_KEYS,
        "HOLDFAST_BASE_URL": "http://127.0.0.1:8000",
    }
    if local is not None:
        for mode, livemode in (("TEST", False), ("LIVE", True)):
            environ[f"STRIPE_{mode}_SECRET_KEY"] = local.keys[livemode]
            environ[f"STRIPE_{mode}_CLIENT_ID"] = local.client_ids[livemode]
            environ[f"STRIPE_{mode}_WEBHOOK_SECRETS"] = WEBHOOK_SECRETS[mode]
        environ["STRIPE_API_BASE"] = environ["STRIPE_CONNECT_BASE"] = local.base_url
    return environ
