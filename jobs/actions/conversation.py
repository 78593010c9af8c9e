"""A conversation with Stripe about one action: every question asked, what it was asked for, and how it was answered."""

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.orm import Session

from connect_app import ids
from connect_app.models import Action, Attempt
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.errors import StripeFailure
from connect_app.stripe_gateway.gateway import Read

T = TypeVar("T")


class Conversation:
    """Collects what is said while no transaction is open, and writes it down with the next one that is."""

    def __init__(self, rt: Runtime, action: Action) -> None:
        self._rt = rt
        self._action = action
        self._said: list[Attempt] = []

    def ask(self, step: str, question: Callable[[], Read[T]], key: str | None = None) -> Read[T]:
        """One request; `step` is `precheck`, `coupon`, `write` or `read_back`. Raises what the gateway raises."""
        at, started = self._rt.now(), time.monotonic()
        request_id, problem = None, None
        try:
            read = question()
            request_id = read.request_id
        except StripeFailure as failure:
            request_id, problem = failure.request_id, str(failure).replace("\0", "")[:500]
            raise
        finally:
            self._said.append(
                Attempt(
                    id=ids.new("att"),
                    workspace_id=self._action.workspace_id,
                    action_id=self._action.id,
                    step=step,
                    at=at,
                    took_ms=round((time.monotonic() - started) * 1000),
                    stripe_request_id=request_id or None,
                    idempotency_key=key,
                    problem=problem,
                )
            )
        return read

    def doubt(self, problem: str) -> None:
        """What was answered last was no failure, and yet not what was hoped for."""
        self._said[-1].problem = problem

    def note(self, session: Session) -> None:
        """Write down what has been said since the last time."""
        session.add_all(self._said)
        self._said = []
