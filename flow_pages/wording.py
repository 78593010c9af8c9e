"""The owner's copy: Liquid cut down to variables, fallbacks and conditions, bounded in size, plain text on its way out.

What comes out is text, never markup: the template that shows it escapes it as a whole, the owner's words and the customer's name alike.
"""

import functools
from collections.abc import Mapping

from liquid import BoundTemplate, Environment, Undefined
from liquid.exceptions import LiquidError

# What copy may name, and what is read where a customer has no such value and the copy gives no `default:` of its own.
FALLBACKS = {
    "first_name": "there",
    "customer_name": "there",
    "email": "your email address",
    "plan_name": "your plan",
    "renewal_date": "the end of your billing period",
    "amount": "your usual price",
}

_TAGS = ("if", "unless", "case", "content", "output", "illegal", "comment")
_FILTERS = ("default", "capitalize", "downcase", "upcase", "strip", "truncate")


class _Absent(Undefined):
    """A variable this customer has no value for: nothing to `default:` and to conditions, its fallback in the text."""

    def __str__(self) -> str:
        return FALLBACKS.get(self.name, "")


class _Environment(Environment):
    output_stream_limit = 64_000
    context_depth_limit = 10
    local_namespace_limit = 1_000
    loop_iteration_limit = 100


def _environment() -> _Environment:
    environment = _Environment(undefined=_Absent)
    environment.tags = {name: tag for name, tag in environment.tags.items() if name in _TAGS}
    environment.filters = {name: filter for name, filter in environment.filters.items() if name in _FILTERS}
    return environment


_LIQUID = _environment()


@functools.lru_cache(maxsize=2048)
def _parsed(text: str) -> BoundTemplate | None:
    try:
        return _LIQUID.from_string(text)
    except LiquidError:
        return None


def problem(text: str) -> str | None:
    """Why this cannot be copy, in words for the owner; None where it can."""
    try:
        found = _LIQUID.from_string(text).analyze()
    except LiquidError as error:
        return f"this is not Liquid we can read: {str(error).splitlines()[0]}"
    if unknown := sorted(name for name in found.globals if name not in FALLBACKS):
        return f"there is no variable called {', '.join(unknown)}; there are {', '.join(sorted(FALLBACKS))}"
    paths = (path for found_at in found.globals.values() for path in found_at)
    if deep := sorted({str(path) for path in paths if len(path.segments) > 1}):
        return f"a variable is a plain text, and copy cannot look inside it: {', '.join(deep)}"
    if foreign := sorted(name for name in found.filters if name not in _FILTERS):
        return f"there is no filter called {', '.join(foreign)}; there are {', '.join(_FILTERS)}"
    return None


def render(text: str, variables: Mapping[str, str]) -> str:
    """The copy with this customer's values as plain text; copy that cannot be read is shown as it was written."""
    template = _parsed(text)
    if template is None:
        return text
    try:
        # Half a surrogate pair, which JSON may hold, can be neither drawn nor sent.
        return template.render(**{name: value.encode(errors="replace").decode() for name, value in variables.items()})
    except LiquidError:
        return text
