"""What every part of a flow's document is made of: frozen, strict, and copy that can be kept and shown."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationInfo

from connect_app import money
from flow_pages import wording

# The context in which a document is read that somebody writes now. What was published is read without it, and stays readable for good.
NEW = {"is_new": True}


def is_new(info: ValidationInfo) -> bool:
    """Whether what can be read, and could never work, is to be refused as well."""
    return bool(info.context and info.context.get("is_new"))


def _in_use(code: str, info: ValidationInfo) -> str:
    if is_new(info) and not money.is_in_use(code):
        raise ValueError(f"there is no currency {code.upper()}")
    return code


def _copy(text: str) -> str:
    if "\0" in text or re.search("[\ud800-\udfff]", text):
        raise ValueError("this holds characters that cannot be shown")
    if problem := wording.problem(text):
        raise ValueError(problem)
    return text


def _alt(text: str, info: ValidationInfo) -> str:
    return _copy(text) if is_new(info) else text


Line = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), AfterValidator(_copy)]
Paragraph = Annotated[str, StringConstraints(max_length=4000, strip_whitespace=True), AfterValidator(_copy)]
Alt = Annotated[str, StringConstraints(max_length=300), AfterValidator(_alt)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$"), AfterValidator(_in_use)]


class Part(BaseModel):
    """A piece of a document; published ones never change, and know no field that is not theirs."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
