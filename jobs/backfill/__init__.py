"""The read-in: after connecting, everything the mirror starts from; it goes on where it was, whatever ended it."""

from jobs.backfill.reading import give_up, read_in
from jobs.backfill.stages import STAGES

__all__ = ["STAGES", "give_up", "read_in"]
