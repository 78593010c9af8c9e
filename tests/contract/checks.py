"""Holds responses to what Stripe published, the SDK's resource annotations made strict; requests are held by `sandbox.stripe.contract`."""

import ast
import functools
import importlib
import inspect
import types
import typing
from decimal import Decimal, InvalidOperation
from typing import Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin

import typing_extensions
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import StripeObject, UntypedStripeObject

from sandbox.stripe.contract import ContractBroken, check_form, check_request, request_type, request_types

__all__ = ["ContractBroken", "check_form", "check_request", "check_response", "request_type", "request_types", "response_problems"]

_UNIONS = (Union, types.UnionType)


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
