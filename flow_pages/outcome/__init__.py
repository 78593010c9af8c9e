"""What became of a choice, told to the customer: one line for each subscription, and *done* only for what was read back from Stripe."""

from flow_pages.outcome.done import Done, card_state, of_customer, of_session
from flow_pages.outcome.lines import Line, accepted, lines

__all__ = ["Done", "Line", "accepted", "card_state", "lines", "of_customer", "of_session"]
