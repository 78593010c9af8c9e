"""Field mappings: an owner's own names for what is known of a customer, each with its type, its source and its fallback."""

from webhooks.mapping.fitting import LONGEST, TYPES, Unfit, fit, type_named
from webhooks.mapping.mappings import DEFAULTS, FIXED, HAND_OFF, Mapping, of_workspace, overlaid
from webhooks.mapping.resolving import Resolved, keep, resolve, typed, write, written

__all__ = [
    "DEFAULTS",
    "FIXED",
    "HAND_OFF",
    "LONGEST",
    "TYPES",
    "Mapping",
    "Resolved",
    "Unfit",
    "fit",
    "keep",
    "of_workspace",
    "overlaid",
    "resolve",
    "type_named",
    "typed",
    "write",
    "written",
]
