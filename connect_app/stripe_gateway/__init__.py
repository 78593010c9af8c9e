"""Our verbs at Stripe: what we ask, what we change, what comes back as our own frozen types, and how it fails.

`objects` and `errors` stand alone and never load Stripe's SDK; only `wire` does.
"""
