"""Customers choose while workers die at exact moments, or at any: every change exactly once on Stripe, and none left open."""
