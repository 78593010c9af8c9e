"""Who is asking: the account, mode, key and time that one change happens under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.stripe.worlds import World

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every verb gets first. `source` is `api`, `dashboard`, `portal`, `checkout` or `clock`."""

    local: LocalStripe
    world: World
    source: str = "api"
    request_id: str | None = None
    idempotency_key: str | None = None

    @property
    def now(self) -> int:
        """The time inside objects."""
        return self.local.clock.now()

    @property
    def livemode(self) -> bool:
        """The mode of the world that is asked."""
        return self.world.livemode
