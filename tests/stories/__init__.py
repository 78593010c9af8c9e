"""Diaries over days and months."""
