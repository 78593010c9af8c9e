"""Sentences about what Holdfast does, proven on real PostgreSQL, real Redis and the local Stripe."""
