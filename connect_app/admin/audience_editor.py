"""A rule while it is being built on a page that works without JavaScript: a tree of form fields that goes to and fro with each button.

A node has the path of its places from the root, `r`, `r.0`, `r.0.2`; its fields are named `<path>:<field>`. What is typed stays as it was
typed until it is right: `document` gives it to webhooks.audiences, and `Draft.flaws` says beside each node what is wrong.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from connect_app import money
from connect_app.money import Money
from webhooks import audiences
from webhooks.audiences import Condition, Flaw, Group, Match, Rule, Verb

ROOT = "r"
MATCHES = {Match.ALL: "all of these", Match.ANY: "any of these", Match.NONE: "none of these"}


@dataclass(slots=True, kw_only=True)
class Asked:
    """A condition as it stands on the page. Which of the last five fields count depends on type and verb."""

    field: str
    type: str
    verb: str
    text: str = ""
    lines: str = ""
    currency: str = ""
    day: str = ""
    days: str = ""


@dataclass(slots=True, kw_only=True)
class Bunch:
    """A group as it stands on the page; it may still be empty."""

    match: str = "all"
    rules: "list[Asked | Bunch]" = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Draft:
    """The page's state. `focus` is the id of the field to go on with; `flaws` are by node path, `name_flaw` is the name's."""

    name: str
    root: Bunch
    focus: str | None = None
    flaws: dict[str, str] = field(default_factory=dict)
    name_flaw: str | None = None

    @property
    def rule(self) -> Rule | None:
        """The rule that is drafted; None while something of it is wrong or missing."""
        try:
            return audiences.parse(_document(self.root))
        except audiences.RuleRefused:
            return None

    def check(self) -> None:
        """Note what is wrong beside each node."""
        try:
            audiences.parse(_document(self.root))
        except audiences.RuleRefused as refused:
            for flaw in refused.flaws:
                self.flaws.setdefault(_node(flaw), f"{flaw.message[0].upper()}{flaw.message[1:]}.")


def blank() -> Draft:
    """An audience that is about to be made."""
    return Draft(name="", root=Bunch())


def of_rule(name: str, rule: Rule | None) -> Draft:
    """An audience as it was kept; a rule that is one condition stands in a group of its own."""
    if rule is None:
        return Draft(name=name, root=Bunch())
    found = _of_rule(rule)
    return Draft(name=name, root=found if isinstance(found, Bunch) else Bunch(rules=[found]))


def of_form(form: Mapping[str, str], types: Mapping[str, str], currency: str) -> tuple[Draft, str]:
    """The draft that a page sent, with its button done, and which button that was: `save`, `show`, or one that changed the tree.

    `types` are the variables there are, `currency` is what new conditions about money begin with.
    """
    root = _bunch(form, ROOT, [0])
    draft = Draft(name=form.get("name", "")[:200], root=root)
    do, _, path = form.get("do", "show").partition(":")
    place = _at(root, path)
    match do, place:
        case "add", Bunch() if (name := form.get(f"{path}:new", "")) in types:
            place.rules.append(Asked(field=name, type=types[name], verb=str(audiences.VERBS[types[name]][0]), currency=currency))
            draft.focus = f"{path}.{len(place.rules) - 1}:verb"
        case "add", Bunch():
            draft.flaws[path] = "Choose a variable first."
            draft.focus = f"{path}:new"
        case "group", Bunch():
            place.rules.append(Bunch(match="any"))
            draft.focus = f"{path}.{len(place.rules) - 1}:match"
        case "remove", _ if place is not None and path != ROOT:
            above, _, last = path.rpartition(".")
            parent = _at(root, above)
            assert isinstance(parent, Bunch)  # noqa: S101  # `path` was found in it
            del parent.rules[int(last)]
            draft.focus = f"{above}:new"
        case _:
            return draft, "save" if do == "save" else "show"
    return draft, do


def depth(path: str) -> int:
    """How deep a group at this path is; the root is 1."""
    return path.count(".") + 1


def _bunch(form: Mapping[str, str], path: str, read: list[int]) -> Bunch:
    """A group of the page and what is in it; never more than a rule may hold, and a bit."""
    rules: list[Asked | Bunch] = []
    place = 0
    while read[0] <= audiences.MOST and depth(path) <= audiences.DEEPEST + 1:
        inner = f"{path}.{place}"
        if f"{inner}:match" in form:
            read[0] += 1
            rules.append(_bunch(form, inner, read))
        elif f"{inner}:field" in form:
            read[0] += 1
            given = {
                name: form.get(f"{inner}:{name}", "") for name in ("field", "type", "verb", "text", "lines", "currency", "day", "days")
            }
            rules.append(Asked(**given))
        else:
            break
        place += 1
    return Bunch(match=form.get(f"{path}:match", "all"), rules=rules)


def _at(root: Bunch, path: str) -> Asked | Bunch | None:
    first, *places = path.split(".")
    found: Asked | Bunch | None = root if first == ROOT else None
    for place in places:
        inside = found.rules if isinstance(found, Bunch) else []
        found = inside[int(place)] if re.fullmatch("[0-9]{1,3}", place) and int(place) < len(inside) else None
    return found


def _document(node: Asked | Bunch) -> dict[str, Any]:
    if isinstance(node, Bunch):
        return {"match": node.match, "rules": [_document(inner) for inner in node.rules]}
    asked = {"field": node.field, "type": node.type, "verb": node.verb}
    return asked if node.verb in audiences.BARE else {**asked, "value": _value(node)}


def _value(asked: Asked) -> Any:
    """What was typed, as a rule's document has it; what cannot be that is left for `parse` to refuse."""
    typed = asked.text.strip()
    if asked.verb in (Verb.IN_LAST, Verb.IN_NEXT):
        return _whole(asked.days.strip())
    if asked.verb == Verb.IS_ONE_OF:
        return [line.strip() for line in asked.lines.splitlines() if line.strip()]
    match asked.type:
        case "integer":
            return _whole(typed)
        case "date":
            return asked.day.strip()
        case "money":
            currency = asked.currency.strip().lower()
            return {"amount": _minor(typed, currency), "currency": currency}
        case "decimal":
            return typed
        case _:
            return asked.text


def _whole(typed: str) -> int | str:
    return int(typed) if re.fullmatch("-?[0-9]{1,19}", typed) else typed


def _minor(typed: str, currency: str) -> int | None:
    """`12.50` in minor units; None for what is no amount of this currency."""
    if not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,3})?", typed):
        return None
    try:
        amount = Decimal(typed).scaleb(money.exponent(currency))
    except InvalidOperation:
        return None
    return int(amount) if amount == amount.to_integral_value() else None


def _of_rule(rule: Rule) -> Asked | Bunch:
    if isinstance(rule, Group):
        return Bunch(match=str(rule.match), rules=[_of_rule(inner) for inner in rule.rules])
    asked = Asked(field=rule.field, type=rule.type, verb=str(rule.verb))
    _show(asked, rule)
    return asked


def _show(asked: Asked, condition: Condition) -> None:
    match condition.value:
        case None:
            pass
        case tuple():
            asked.lines = "\n".join(condition.value)
        case Money():
            asked.text, asked.currency = f"{condition.value.decimal:f}", condition.value.currency
        case Decimal():
            asked.text = f"{condition.value:f}"
        case int() if condition.verb in (Verb.IN_LAST, Verb.IN_NEXT):
            asked.days = str(condition.value)
        case str() | int():
            asked.text = str(condition.value)
        case _:
            asked.day = condition.value.isoformat()


def _node(flaw: Flaw) -> str:
    """The path on the page of what a flaw is about."""
    return ".".join([ROOT, *(part for part in flaw.path.split(".") if part.isdigit())])


def told(draft: Draft) -> list[tuple[str, str]]:
    """Everything that is wrong as (id of the field, message), in reading order, for the summary above the form."""
    found = [("name", draft.name_flaw)] if draft.name_flaw else []
    for path, node in _walk(draft.root, ROOT):
        if path in draft.flaws:
            about = f"{node.field}: " if isinstance(node, Asked) else ""
            found.append((f"{path}:{'verb' if isinstance(node, Asked) else 'new'}", about + draft.flaws[path]))
    return found


def _walk(node: Asked | Bunch, path: str) -> Iterator[tuple[str, Asked | Bunch]]:
    """Every node with its path, in reading order."""
    yield path, node
    if isinstance(node, Bunch):
        for place, inner in enumerate(node.rules):
            yield from _walk(inner, f"{path}.{place}")
