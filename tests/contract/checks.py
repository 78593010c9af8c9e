"""Holds requests and responses to what Stripe published: the SDK's own TypedDicts and resource annotations, made strict."""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin
from urllib.parse import parse_qsl

import pydantic
import stripe
import typing_extensions
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import StripeObject, UntypedStripeObject

_UNIONS = (Union, types.UnionType)


class ContractBroken(AssertionError):
    """What Stripe would not accept, or would never send."""


# --- Requests -----------------------------------------------------------------------------------------------------------


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


# --- Responses ----------------------------------------------------------------------------------------------------------


@functools.cache
def _names_of(module: str) -> dict[str, Any]:
    source = inspect.getsource(importlib.import_module(module))
    names: dict[str, Any] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("stripe") and ".params" not in str(node.module):
            for alias in node.names:
                names[alias.asname or alias.name] = getattr(importlib.import_module(str(node.module)), alias.name)
    return names


@functools.cache
def fields_of(cls: type) -> dict[str, Any]:
    """The annotated fields of a resource or of a part of one."""
    own = {key for key in inspect.get_annotations(cls) if key != "OBJECT_NAME" and not key.startswith("_")}
    hints = typing_extensions.get_type_hints(cls, localns=_names_of(cls.__module__))
    return {key: hint for key, hint in hints.items() if key in own}


def resource(name: str) -> type | None:
    """The SDK's class for objects of this name."""
    if name not in OBJECT_CLASSES:
        return None
    module, cls = OBJECT_CLASSES[name]
    return typing.cast(type, getattr(importlib.import_module(module), cls))


def response_problems(payload: Any, path: str = "$") -> list[str]:
    """All that is wrong with an object, found by its `object` name: unknown keys, missing keys, wrong types."""
    if not isinstance(payload, dict) or not isinstance(payload.get("object"), str):
        return [f"{path}: not an object with a name"]
    name = payload["object"]
    if name == "list":
        return _list_problems(payload, None, path)
    if payload.get("deleted") is True and set(payload) == {"id", "object", "deleted"}:
        return []
    cls = resource(name)
    if cls is None:
        return [f"{path}: no such object as {name}"]
    problems = _fields_problems(payload, cls, path)
    if name == "event":
        data = payload.get("data", {})
        problems += response_problems(data.get("object"), f"{path}.data.object")
        about = resource(str(data.get("object", {}).get("object")))
        previous = data.get("previous_attributes")
        if previous is not None and about is not None:
            problems += [f"{path}.data.previous_attributes.{key}: unknown key" for key in previous if key not in fields_of(about)]
        if previous is not None and not str(payload.get("type")).endswith(".updated"):
            problems.append(f"{path}.data.previous_attributes: only on *.updated")
    return problems


def check_response(payload: Any) -> None:
    """Raise `ContractBroken` with every problem of this response."""
    problems = response_problems(payload)
    if problems:
        raise ContractBroken("\n".join(problems))


def _list_problems(payload: dict[str, Any], element: Any, path: str) -> list[str]:
    problems = [f"{path}.{key}: unknown key" for key in set(payload) - {"object", "data", "has_more", "url", "total_count"}]
    for key, kind in (("data", list), ("has_more", bool), ("url", str)):
        if not isinstance(payload.get(key), kind):
            problems.append(f"{path}.{key}: missing or wrong")
    for index, item in enumerate(payload.get("data") or []):
        where = f"{path}.data[{index}]"
        problems += response_problems(item, where) if element is None else _problems(item, element, where)
    return problems


def _fields_problems(payload: dict[str, Any], cls: type, path: str) -> list[str]:
    fields = fields_of(cls)
    problems = [f"{path}.{key}: unknown key" for key in payload if key not in fields]
    for key, hint in fields.items():
        if key in payload:
            problems += _problems(payload[key], hint, f"{path}.{key}")
        elif type(None) not in get_args(hint):
            problems.append(f"{path}.{key}: missing")
    return problems


def _problems(value: Any, hint: Any, path: str) -> list[str]:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar | ForwardRef):
        return []
    if origin in _UNIONS:
        return _union_problems(value, args, path)
    if origin in (Literal, typing_extensions.Literal):
        return [] if value in args and type(value) in {type(arg) for arg in args} else [f"{path}: {value!r} is none of {args}"]
    cls = origin or hint
    if cls is list:
        if not isinstance(value, list):
            return [f"{path}: not a list"]
        return [problem for index, item in enumerate(value) for problem in _problems(item, args[0], f"{path}[{index}]")]
    if inspect.isclass(cls) and cls.__name__ == "ListObject":
        return _list_problems(value, args[0] if args else None, path) if isinstance(value, dict) else [f"{path}: not a list object"]
    if cls is dict or cls is UntypedStripeObject:
        if not isinstance(value, dict):
            return [f"{path}: not a hash"]
        element = args[-1] if args else Any
        return [problem for key, item in value.items() for problem in _problems(item, element, f"{path}.{key}")]
    if inspect.isclass(cls) and issubclass(cls, StripeObject):
        if not isinstance(value, dict):
            return [f"{path}: not an object"]
        wanted = getattr(cls, "OBJECT_NAME", None)
        if isinstance(wanted, str) and value.get("object") != wanted:
            return [f"{path}: is {value.get('object')!r}, not {wanted!r}"]
        if isinstance(wanted, str) and value.get("deleted") is True and set(value) == {"id", "object", "deleted"}:
            return []
        return _fields_problems(value, cls, path)
    return _scalar_problems(value, cls, path)


def _scalar_problems(value: Any, cls: Any, path: str) -> list[str]:
    if cls is Decimal:
        try:
            return [] if isinstance(value, str) and Decimal(value).is_finite() else [f"{path}: not a decimal text"]
        except InvalidOperation:
            return [f"{path}: not a decimal text"]
    if cls is float:
        return [] if isinstance(value, int | float) and not isinstance(value, bool) else [f"{path}: not a number"]
    if cls is int:
        return [] if isinstance(value, int) and not isinstance(value, bool) else [f"{path}: not a whole number"]
    return [] if isinstance(value, cls) else [f"{path}: {value!r} is not {cls.__name__}"]


def _union_problems(value: Any, arms: tuple[Any, ...], path: str) -> list[str]:
    if value is None:
        return [] if type(None) in arms else [f"{path}: null"]
    arms = tuple(arm for arm in arms if arm is not type(None))
    if any(get_origin(arm) in (Literal, typing_extensions.Literal) for arm in arms):
        arms = tuple(arm for arm in arms if arm is not str)  # open enums are closed here
    tried = [_problems(value, arm, path) for arm in arms]
    return min(tried, key=len)
