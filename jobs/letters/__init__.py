"""Letters to a customer about what they asked for: what changes, from when, and what is charged next; never more than is known."""

from jobs.letters.sending import addressee, business, passed_on, send
from jobs.letters.words import Letter, failed, overtaken, received, verified

__all__ = ["Letter", "addressee", "business", "failed", "overtaken", "passed_on", "received", "send", "verified"]
