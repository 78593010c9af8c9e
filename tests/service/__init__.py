"""Behaviour on real PostgreSQL and Redis, with the local Stripe in process."""
