"""The two modes of a Stripe account, and of everything of ours that belongs to one."""

from enum import StrEnum


class Mode(StrEnum):
    """`test` or `live`, as at Stripe. How a flow opens (modal or redirect) is its display, never its mode."""

    TEST = "test"
    LIVE = "live"

    @property
    def livemode(self) -> bool:
        """Stripe's own spelling of the same fact."""
        return self is Mode.LIVE

    @classmethod
    def of(cls, livemode: bool) -> "Mode":
        return cls.LIVE if livemode else cls.TEST
