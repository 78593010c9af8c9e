"""What is shipped to try the product with: a local Stripe and a small shop."""
