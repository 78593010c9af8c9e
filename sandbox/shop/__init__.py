"""The example shop: a small SaaS business, a stranger to Holdfast's code, that hands its customers over by HTTP."""
