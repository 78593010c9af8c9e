"""The kinds of failure Holdfast tells people about; each carries what its reader needs to mend it. No Flask here."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(kw_only=True)
class Problem(Exception):
    """A failure with a public face.

    `message` is written for the person who must fix it; `param` names the offending field of a request; `retry_after` is in seconds.
    Subclasses fix the HTTP status and Stripe-like error type.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    code: str
    message: str
    param: str | None = None
    retry_after: int | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class InvalidRequest(Problem):
    """What was sent cannot be understood or is not allowed (400)."""

    status = 400
    type = "invalid_request_error"


class NotAuthenticated(Problem):
    """The sender has not proven who they are (401)."""

    status = 401
    type = "authentication_error"


class Forbidden(Problem):
    """The sender is known, and may not do this (403)."""

    status = 403
    type = "permission_error"


class NotFound(Problem):
    """There is nothing here for this sender: also what another tenant's id answers (404)."""

    status = 404
    type = "invalid_request_error"


class Conflict(Problem):
    """The thing has moved on since the sender looked (409)."""

    status = 409
    type = "invalid_request_error"


class Gone(Problem):
    """A link that was good once (410)."""

    status = 410
    type = "invalid_request_error"


class Unavailable(Problem):
    """Something we stand on is away; nothing was changed (503)."""

    status = 503
    type = "api_error"
