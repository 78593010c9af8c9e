"""Actions: one change to one subscription on Stripe each, from being asked for to its proof, whole and once whatever is killed."""

from jobs.actions.confirming import confirm
from jobs.actions.course import give_up, perform
from jobs.actions.ledger import InFlight, ask, retry, retry_disconnected, waiting, waiting_counts
from jobs.actions.settlement import close, mark_done

__all__ = [
    "InFlight",
    "ask",
    "close",
    "confirm",
    "give_up",
    "mark_done",
    "perform",
    "retry",
    "retry_disconnected",
    "waiting",
    "waiting_counts",
]
