"""What Stripe's news means: kept first, understood later, mirrored for everyone above."""
