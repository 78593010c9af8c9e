"""Holdfast and its peers side by side: the same load, the same PostgreSQL and Redis, one run, and what the ratios are."""
