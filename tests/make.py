"""What tests stand on stage: an environment, a workspace with its connection, secrets, flows."""

from sandbox.stripe.local import LocalStripe

from sandbox import embedded

SECRET_KEYS = embedded.secret_keys()


def environ(local: LocalStripe | None = None) -> dict[str, str]:
    """A complete environment but for the servers' addresses."""
    environ = {
        "DATABASE_URL": "postgresql://nowhere/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "HOLDFAST_SECRET_KEYS": SECRET_KEYS,
        "HOLDFAST_BASE_URL": "http://127.0.0.1:8000",
    }
    return environ
