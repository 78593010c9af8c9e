"""Acting on the world: what customers and owners decided, applied on Stripe and told to those concerned."""
