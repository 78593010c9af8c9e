"""What became of a choice, told to the customer: one line for each subscription, and *done* only for what was read back from Stripe."""

from flow_pages.outcome.done import Done, as_it_is, card_state, of_customer, of_session
from flow_pages.outcome.lines import ASK_TO_UNDO, OVERTAKEN, Line, accepted, deciding, lines

__all__ = [
    "ASK_TO_UNDO",
    "OVERTAKEN",
    "Done",
    "Line",
    "accepted",
    "as_it_is",
    "card_state",
    "deciding",
    "lines",
    "of_customer",
    "of_session",
]
