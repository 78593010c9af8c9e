"""The owner's copy: Liquid cut down to variables, fallbacks and conditions, bounded in size, plain text on its way out.

What comes out is text, never markup: the template that shows it escapes it as a whole, the owner's words and the customer's name alike.
"""

from collections.abc import Mapping

from flow_pages.wording import liquids
from flow_pages.wording.proofs import names, problem, unknown
from flow_pages.wording.vocabulary import FALLBACKS, Word, word, words

__all__ = ["FALLBACKS", "Word", "names", "problem", "render", "unknown", "word", "words"]


def render(text: str, variables: Mapping[str, Word | str]) -> str:
    """The copy with this customer's values as plain text. What fails on one of them costs that output or condition, and nothing else."""
    # Most lines name no variable, and a page has a dozen of them.
    template = liquids.parsed(text) if "{" in text else None
    if template is None:
        return text
    # Half a surrogate pair, which JSON may hold, can be neither drawn nor sent.
    plain = {name: one if isinstance(one, Word) else one.encode(errors="replace").decode() for name, one in variables.items()}
    try:
        return template.render(**plain)
    except liquids.PROBLEMS:
        return ""
