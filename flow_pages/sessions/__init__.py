"""The verbs of a session: minted once a bundle, answered until its one choice is made, kept by *Never mind*, undone while possible."""

from flow_pages.sessions.choosing import PROMISED_AFTER, accept, cancel, served, undo
from flow_pages.sessions.minting import LINK_LASTS, Handoff, control_reason, flow_version, mint, pin, reason_now
from flow_pages.sessions.walking import COMMENT_LENGTH, answer, clean, decline, follow, never_mind, offer_named, seen, shown, skip

__all__ = [
    "COMMENT_LENGTH",
    "LINK_LASTS",
    "PROMISED_AFTER",
    "Handoff",
    "accept",
    "answer",
    "cancel",
    "clean",
    "control_reason",
    "decline",
    "flow_version",
    "follow",
    "mint",
    "never_mind",
    "offer_named",
    "pin",
    "reason_now",
    "seen",
    "served",
    "shown",
    "skip",
    "undo",
]
