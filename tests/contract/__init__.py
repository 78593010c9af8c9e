"""What we send and receive, held against Stripe’s published types."""
