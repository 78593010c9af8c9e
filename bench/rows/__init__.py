"""The rows of the results, by what they are about: each module measures and gives figures.Row."""
