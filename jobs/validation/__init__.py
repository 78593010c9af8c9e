"""Validating saves: each session's outcome by the table of SPEC section 11, decided by time and by Stripe's news, proven by a look."""

from jobs.validation.course import ask, hold, reckon, validate
from jobs.validation.table import ABANDONED_AFTER

__all__ = ["ABANDONED_AFTER", "ask", "hold", "reckon", "validate"]
