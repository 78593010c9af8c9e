"""Pauses and free time of ours while they last: the business is told of both ends, the customer reminded, the first charge after watched."""

from jobs.pauses.course import watch
from jobs.pauses.ends import began

__all__ = ["began", "watch"]
