"""The cellar and the roof of Holdfast: what every package stands on, and what holds the product together."""
