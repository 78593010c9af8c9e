"""Proofs: what is wrong with copy before anybody reads it, tried on values of every variable it names."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from liquid import BoundTemplate, Node, RenderContext
from liquid.exceptions import LiquidError
from liquid.expression import Expression

from connect_app.money import Money
from flow_pages.wording import liquids, vocabulary
from webhooks.catalogue import Type, Value

# A value of each type, for trying copy before anybody reads it.
_SAMPLES: Mapping[Type, Value] = {
    "text": "Snack Pack",
    "email": "ada@example.com",
    "url": "https://example.com",
    "date": datetime(2026, 3, 2, tzinfo=UTC),
    "integer": 3,
    "decimal": Decimal("2.5"),
    "boolean": True,
    "money": Money(2900, "usd"),
}
_TYPES: Mapping[Type, str] = {
    "text": "a text",
    "email": "an email address",
    "url": "a URL",
    "date": "a date",
    "integer": "a whole number",
    "decimal": "a decimal",
    "boolean": "yes or no",
    "money": "money",
}


def problem(text: str, types: Mapping[str, Type] | None = None) -> str | None:
    """Why this cannot be copy, in words for the owner; None where it can. Which variables there are is not asked: see `unknown`.

    With `types`, those of the variables, all that it says is tried on values of them, and on customers of whom they are not known.
    """
    try:
        template = liquids.STRICT.from_string(text)
        found = template.analyze()
    except LiquidError as error:
        return f"this is not Liquid we can read: {str(error).splitlines()[0]}"
    paths = (path for found_at in found.globals.values() for path in found_at)
    if deep := sorted({str(path) for path in paths if len(path.segments) > 1}):
        return f"a variable is a plain text, and copy cannot look inside it: {', '.join(deep)}"
    if foreign := sorted(name for name in found.filters if name not in liquids.FILTERS):
        return f"there is no filter called {', '.join(foreign)}; there are {', '.join(liquids.FILTERS)}"
    return _tried(template, types) if types is not None else None


def _tried(template: BoundTemplate, types: Mapping[str, Type]) -> str | None:
    known: dict[str, vocabulary.Word] = {name: vocabulary.word(_SAMPLES[type], "en") for name, type in types.items()}
    for values in (known, {name: vocabulary.Word(text=vocabulary.FALLBACKS.get(name, ""), is_known=False) for name in types}):
        context = RenderContext(template, globals=template.make_globals(values))
        for expression in _expressions(template.nodes, context):
            try:
                expression.evaluate(context)
            except liquids.PROBLEMS as problem:
                # Where it stands in the text follows on further lines.
                why = str(problem).splitlines()[0]
                whose = _named(expression, types) if values is known else "of a customer of whom it is not known"
                return f"this cannot be worked out, {whose}: {expression} ({why})"
    return None


def _expressions(nodes: Iterable[Node], context: RenderContext) -> Iterator[Expression]:
    """Every condition and output, on whichever branch, and each part of it: `and` looks no further than it must."""
    for node in nodes:
        yield from _parts(node.expressions())
        yield from _expressions(node.children(context), context)


def _parts(expressions: Iterable[Expression]) -> Iterator[Expression]:
    for expression in expressions:
        yield from _parts(expression.children())
        yield expression


def _named(expression: Expression, types: Mapping[str, Type]) -> str:
    named = sorted({str(part) for part in _parts([expression])} & set(types))
    return " and ".join(f"{name} being {_TYPES[types[name]]}" for name in named) or "whatever the values are"


def names(text: str) -> set[str]:
    """The variables that this copy names; none where it is no Liquid."""
    template = liquids.parsed(text)
    return set(template.analyze().globals) if template is not None else set()


def unknown(text: str, there_are: Collection[str]) -> str | None:
    """Which variables of this copy there are none of, each with the one that may be meant; None where all are known."""
    missing = sorted(names(text) - set(there_are))
    if not missing:
        return None
    told = []
    for name in missing:
        close = difflib.get_close_matches(name, there_are, n=1, cutoff=0.6)
        told.append(f"there is no variable called {name}" + (f"; did you mean {close[0]}?" if close else ""))
    return ", and ".join(told)
