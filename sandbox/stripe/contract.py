"""The contract of requests: the SDK's own TypedDicts, made strict, say what Stripe takes on each call."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import parse_qsl

import pydantic
import stripe
import typing_extensions
from stripe._stripe_object import StripeObject

_UNIONS = (Union, types.UnionType)


class ContractBroken(AssertionError):
    """What Stripe would not accept, or would never send."""


@functools.cache
def request_types() -> list[tuple[str, re.Pattern[str], type]]:
    """Method, path and TypedDict of every v1 call, read from the SDK's services."""
    found = []
    for info in pkgutil.walk_packages(stripe.__path__, "stripe."):
        if not info.name.endswith("_service") or ".v2." in info.name:
            continue
        module = importlib.import_module(info.name)
        tree = ast.parse(inspect.getsource(module))
        imported = _type_checking_names(tree)
        for verb in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            annotation = next((ast.unparse(a.annotation) for a in verb.args.args if a.arg == "params" and a.annotation), "")
            name = re.search(r"\w+Params", annotation)
            call = next((n for n in ast.walk(verb) if isinstance(n, ast.Call) and ast.unparse(n.func) == "self._request"), None)
            if not name or not call or name[0] not in imported:
                continue
            path = next((n.value for n in ast.walk(call.args[1]) if isinstance(n, ast.Constant) and "/v1/" in str(n.value)), None)
            if path is not None:
                method = ast.literal_eval(call.args[0]).upper()
                pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", str(path)))
                found.append((method, pattern, getattr(importlib.import_module(imported[name[0]]), name[0])))
    return found


def _type_checking_names(tree: ast.Module) -> dict[str, str]:
    """Name -> module of everything imported for types only."""
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {(alias.asname or alias.name): str(node.module) for node in imports for alias in node.names}


def request_type(method: str, path: str) -> type:
    """The TypedDict of this call. Raises `ContractBroken` when Stripe has no such call."""
    exact = [td for verb, pattern, td in request_types() if verb == method.upper() and pattern.pattern == path]
    matching = exact or [td for verb, pattern, td in request_types() if verb == method.upper() and pattern.fullmatch(path)]
    if not matching:
        raise ContractBroken(f"Stripe has no call {method} {path}")
    return matching[0]


def _closed(annotation: Any, strict: bool) -> Any:
    """The annotation without its loopholes: no StripeObject arms, no `| str` beside a list of words, no unknown keys inside."""
    if typing_extensions.is_typeddict(annotation):
        return _strict(annotation, strict)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (typing_extensions.NotRequired, typing_extensions.Required, typing.NotRequired, typing.Required):
        return origin[_closed(args[0], strict)]
    if origin in _UNIONS:
        arms = [arm for arm in args if not (inspect.isclass(get_origin(arm) or arm) and issubclass(get_origin(arm) or arm, StripeObject))]
        words = [set(get_args(arm)) for arm in arms if get_origin(arm) in (Literal, typing_extensions.Literal)]
        if any(len(each - {"", "now"}) for each in words):
            arms = [arm for arm in arms if arm is not str]
        return Union[tuple(_closed(arm, strict) for arm in arms)]  # noqa: UP007
    if origin in (list, dict) and args:
        return origin[tuple(_closed(arg, strict) for arg in args)]
    return annotation


@functools.cache
def _strict(td: Any, strict: bool) -> Any:
    names = {**vars(importlib.import_module("stripe._request_options")), "StripeContext": object}
    hints = typing_extensions.get_type_hints(td, localns=names, include_extras=True)
    # The functional syntax keeps keys that are no identifiers.
    make: Any = typing_extensions.TypedDict
    rebuilt = make(td.__name__, {key: _closed(hint, strict) for key, hint in hints.items()})
    rebuilt.__pydantic_config__ = pydantic.ConfigDict(extra="forbid", strict=strict, arbitrary_types_allowed=True)
    return rebuilt


@functools.cache
def _adapter(td: Any, strict: bool) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(_strict(td, strict))


def check_request(method: str, path: str, params: Mapping[str, object] | None) -> None:
    """Raise `ContractBroken` unless these parameters, as given to the SDK, are exactly what Stripe takes on this call."""
    _check(method, path, dict(params or {}), strict=True)


def check_form(method: str, path: str, form: str) -> None:
    """The same for a form or query as it went over the wire, where everything is text."""
    _check(method, path, _nested(form), strict=False)


def _check(method: str, path: str, params: dict[str, object], *, strict: bool) -> None:
    td = request_type(method, path)
    try:
        _adapter(td, strict).validate_python(params)
    except pydantic.ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        raise ContractBroken(f"{method} {path} ({td.__name__}): {told}") from None


def _nested(form: str) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for key, value in parse_qsl(form, keep_blank_values=True):
        parts = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", key)
        node = root
        for part in parts[:-1]:
            node = node.setdefault(part or str(len(node)), {})
        node[parts[-1] or str(len(node))] = value
    return typing.cast(dict[str, Any], {key: _lists(value) for key, value in root.items()})


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _lists(value) for key, value in node.items()}


def problem(method: str, path: str, form: str) -> str | None:
    """Why Stripe would not take this call as it went over the wire, None where it would."""
    try:
        check_form(method, path, form)
    except ContractBroken as broken:
        return str(broken)
    return None
