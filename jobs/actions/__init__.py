"""Actions: one change to one subscription on Stripe each, from being asked for to its proof, whole and once whatever is killed."""

from jobs.actions.confirming import confirm
from jobs.actions.course import give_up, perform
from jobs.actions.following import ask_after, begin, never_begun
from jobs.actions.ledger import DECLINED, UNDER_WAY, YOURS, InFlight, ask, has_voided, retry, retry_disconnected, waiting, waiting_counts
from jobs.actions.proving import ask_proof, prove, unproven
from jobs.actions.repeats import give_way
from jobs.actions.settlement import close, mark_done

__all__ = [
    "DECLINED",
    "UNDER_WAY",
    "YOURS",
    "InFlight",
    "ask",
    "ask_after",
    "ask_proof",
    "begin",
    "close",
    "confirm",
    "give_up",
    "give_way",
    "has_voided",
    "mark_done",
    "never_begun",
    "perform",
    "prove",
    "retry",
    "retry_disconnected",
    "unproven",
    "waiting",
    "waiting_counts",
]
