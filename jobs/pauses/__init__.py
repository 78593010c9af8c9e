"""Pauses and free time of ours while they last: both ends are told of, the customer is reminded, the first charge after is watched."""

from jobs.pauses.course import watch
from jobs.pauses.ends import began

__all__ = ["began", "watch"]
