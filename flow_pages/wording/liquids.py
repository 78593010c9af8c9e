"""Copy's Liquid: the tags and filters there are, and what happens where one of them fails on a customer's values."""

import functools
from typing import TextIO

from liquid import BoundTemplate, Environment, Node, RenderContext, TokenStream
from liquid.builtin.expressions import FilteredExpression
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.if_tag import IfNode, IfTag
from liquid.builtin.tags.unless_tag import UnlessNode, UnlessTag
from liquid.exceptions import FilterArgumentError, LiquidError
from liquid.expression import Expression
from liquid.stringify import to_liquid_string

from flow_pages.wording import vocabulary

_TAGS = ("if", "unless", "case", "content", "output", "illegal", "comment")
FILTERS = ("default", "capitalize", "downcase", "upcase", "strip", "truncate", "date", "money", "number")
# What a wrong argument or an impossible comparison ends in.
PROBLEMS = (LiquidError, ArithmeticError, LookupError, TypeError, ValueError)


class _Environment(Environment):
    output_stream_limit = 64_000
    context_depth_limit = 10
    local_namespace_limit = 1_000
    loop_iteration_limit = 100


class _Plain(OutputNode):
    """An output; where a filter fails on this customer's value, the value as it is."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        try:
            text = to_liquid_string(self.expression.evaluate(context), context.autoescape)
        except PROBLEMS:
            inner = self.expression.left if isinstance(self.expression, FilteredExpression) else None
            text = to_liquid_string(inner.evaluate(context), context.autoescape) if inner is not None else ""
        return buffer.write(text)


class _Output(Output):
    node_class = _Plain


class _Met(Expression):
    """A condition; one that cannot be decided for this customer's values is not met."""

    __slots__ = ("condition",)

    def __init__(self, condition: Expression) -> None:
        super().__init__(condition.token)
        self.condition = condition

    def __str__(self) -> str:
        return str(self.condition)

    def evaluate(self, context: RenderContext) -> object:
        try:
            return self.condition.evaluate(context)
        except PROBLEMS:
            return False

    def children(self) -> list[Expression]:
        return [self.condition]


class _If(IfTag):
    def parse(self, stream: TokenStream) -> Node:
        return _cautious(super().parse(stream))


class _Unless(UnlessTag):
    def parse(self, stream: TokenStream) -> Node:
        return _cautious(super().parse(stream))


def _cautious(node: Node) -> Node:
    if isinstance(node, IfNode | UnlessNode):
        node.condition = _Met(node.condition)
        for alternative in node.alternatives:
            alternative.expression = _Met(alternative.expression)
    return node


def _of_known_style(word: object, style: object = "long") -> object:
    if style not in vocabulary.DATES:
        raise FilterArgumentError(f"a date is written {', '.join(vocabulary.DATES)}, and not {style!r}", token=None)
    return vocabulary.date(word, style)


def _of_few_decimals(word: object, decimals: object = None) -> object:
    if decimals is not None and not (isinstance(decimals, int) and 0 <= decimals <= vocabulary.MOST_DECIMALS):
        raise FilterArgumentError(f"a number has 0 to {vocabulary.MOST_DECIMALS} decimals, and not {decimals!r}", token=None)
    return vocabulary.number(word, decimals)


def _environment() -> _Environment:
    environment = _Environment(undefined=vocabulary.Absent)
    environment.tags = {name: tag for name, tag in environment.tags.items() if name in _TAGS}
    environment.filters = {name: filter for name, filter in environment.filters.items() if name in FILTERS}
    environment.filters |= {
        "default": vocabulary.default,
        "date": vocabulary.date,
        "money": vocabulary.in_money,
        "number": vocabulary.number,
    }
    return environment


# For trying copy: what is wrong with it is said.
STRICT = _environment()
STRICT.filters |= {"date": _of_known_style, "number": _of_few_decimals}
# For customers: what is wrong with it costs one output or one condition.
_LIQUID = _environment()
for _tag in (_Output, _If, _Unless):
    _LIQUID.add_tag(_tag)


@functools.lru_cache(maxsize=2048)
def parsed(text: str) -> BoundTemplate | None:
    """The copy for customers; None where it is no Liquid."""
    try:
        return _LIQUID.from_string(text)
    except LiquidError:
        return None
