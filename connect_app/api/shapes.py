"""What the API takes and gives, as pydantic models: questions are parsed by them, answers made of them, and both documented from them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connect_app import models
from connect_app.errors import InvalidRequest
from jobs.outbound import messages, telling

State = Literal["requested", "queued", "prechecked", "applied", "verified", "manual", "failed"]
# Ids are looked for, not understood: whatever the database can hold.
Id = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]


class Confirmation(BaseModel):
    """What became of the last call that said this action is done. Each call has a look at Stripe of its own, within seconds as a rule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked_at: int
    answered_at: int | None = Field(description="null while Stripe is still to be read.")
    found: Literal["shown", "not_shown", "unreadable", "moved_on"] | None = Field(
        description="`shown`: the action is verified. `not_shown`: Stripe does not show it; the action goes on waiting, so confirm again"
        " once it is made. `unreadable`: Stripe could not be read; confirm again. `moved_on`: the action no longer waited; its state says"
        " what became of it. null while Stripe is still to be read."
    )
    message: str | None = Field(description="Of what was not shown or not readable: what was looked for, and why it was not found.")
    seen: dict[str, Any] | None = Field(
        description="The subscription as Stripe showed it: `status`, `cancel_at_period_end`, `cancel_at`, `resumes_at`, `trial_end`,"
        " `prices`, `discounts` and others. Times in it are ISO 8601."
    )


class Action(messages.Asked):
    """One change to one subscription: the fields of the webhooks `action.…`, and its confirmation."""

    state: State = Field(
        description="`requested` and `manual` wait, for your system or a person. `queued`, `prechecked` and `applied` are on their way."
        " `verified` was read back from Stripe. `failed` will not be made."
    )
    confirmation: Confirmation | None = Field(description="null where no call has said that it is done.")


class Actions(BaseModel):
    """A page of actions, the newest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: tuple[Action, ...]
    has_more: bool = Field(description="Whether there are older ones: ask again with `starting_after` set to the last one's `action`.")


class Problem(BaseModel):
    """What went wrong. `code` is for programs, `message` for whoever has to mend it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["invalid_request_error", "authentication_error", "permission_error", "rate_limit_error", "api_error"]
    code: str
    message: str
    param: str | None = Field(description="The parameter that is at fault, where one is.")
    request_id: str = Field(description="The answer's `Request-Id`: quote it when asking for help.")
    doc_url: str


class Error(BaseModel):
    """Every answer that is no success."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: Problem


class Question(BaseModel):
    """What can be asked of the list of actions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: State | None = Field(None, description="Only those in this state, such as `requested`.")
    session: Id | None = Field(None, description="Only those of this session, `ses_…`.")
    subscription: Id | None = Field(None, description="Only those of this subscription, `sub_…`.")
    limit: int = Field(10, ge=1, le=100, description="How many at most.")
    starting_after: Id | None = Field(None, description="The `action` of the last one of the page before.")


def question(asked: Mapping[str, Sequence[str]]) -> Question:
    """The parameters of a request. Raises InvalidRequest, naming the first that is wrong."""
    for name, values in asked.items():
        if len(values) > 1:
            raise InvalidRequest(code="invalid_request", message=f"{name} is given more than once.", param=name[:100])
    try:
        return Question.model_validate({name: values[0] for name, values in asked.items()})
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])[:100]
        if problem["type"] == "extra_forbidden":
            known = ", ".join(Question.model_fields)
            raise InvalidRequest(code="invalid_request", message=f"There is no parameter {name}; there are {known}.", param=name) from None
        raise InvalidRequest(code="invalid_request", message=f"{name}: {problem['msg']}.", param=name) from None


def action(row: models.Action) -> Action:
    """An action as the API says it."""
    kept = row.confirmation
    confirmation = kept and Confirmation(
        asked_at=messages.seconds(datetime.fromisoformat(kept["asked_at"])),
        answered_at=messages.seconds(datetime.fromisoformat(kept["answered_at"])) if kept["answered_at"] else None,
        found=kept["found"],
        message=kept["message"],
        seen=kept["seen"],
    )
    return Action(**telling.of_action(row), confirmation=confirmation or None)
