"""Kills, floods and freezes, each with planted bugs it is shown to catch."""
