"""The storm: what happens at many Stripe accounts, told shuffled, doubled, broken and in part never, while everything is being killed."""
