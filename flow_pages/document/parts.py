"""What every part of a flow's document is made of: frozen, strict, and copy that can be kept and shown."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from flow_pages import wording


def _copy(text: str) -> str:
    if "\0" in text or re.search("[\ud800-\udfff]", text):
        raise ValueError("this holds characters that cannot be shown")
    if problem := wording.problem(text):
        raise ValueError(problem)
    return text


Line = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), AfterValidator(_copy)]
Paragraph = Annotated[str, StringConstraints(max_length=4000, strip_whitespace=True), AfterValidator(_copy)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$")]


class Part(BaseModel):
    """A piece of a document; published ones never change, and know no field that is not theirs."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
