"""The customer's links: derived from a row each time they are asked for, so that a stolen database opens nothing."""

from urllib.parse import quote, urlsplit

from connect_app import tokens
from connect_app.errors import Gone, NotFound
from connect_app.models import FlowSession, PortalLink
from connect_app.runtime import Runtime
from connect_app.tokens import Parsed

CANCEL, PORTAL, FORM = "cancel", "portal", "form"
# How many revocations back a link is still told from a forged one.
_EPOCHS_REMEMBERED = 50


def cancel_url(rt: Runtime, row: FlowSession) -> str:
    """The address of a session's flow, the same each time."""
    return rt.settings.base_url + cancel_path(rt, row)


def cancel_path(rt: Runtime, row: FlowSession) -> str:
    return f"/cancel/{tokens.make(rt.ring, CANCEL, row.id, row.epoch)}"


def portal_url(rt: Runtime, row: PortalLink) -> str:
    """The address of a customer's portal, the same each time until it is revoked or has run out."""
    return rt.settings.base_url + portal_path(rt, row)


def portal_path(rt: Runtime, row: PortalLink) -> str:
    return f"/portal/{tokens.make(rt.ring, PORTAL, row.id, row.epoch)}"


def form_token(rt: Runtime, row_id: str, epoch: int) -> str:
    """The hidden `token` of a page's forms: proof that the page was ours, since there is no cookie and `Origin` is null."""
    return tokens.make(rt.ring, FORM, row_id, epoch)


def is_form_token(rt: Runtime, text: str, row_id: str, epoch: int) -> bool:
    parsed = tokens.parse(text)
    return parsed is not None and parsed.row_id == row_id and tokens.verify(rt.ring, parsed, FORM, epoch)


def parse(token: str, prefix: str) -> Parsed:
    """The parts of a token for a row `prefix…`; raises NotFound for what cannot be one."""
    parsed = tokens.parse(token)
    if parsed is None or not parsed.row_id.startswith(prefix):
        raise unknown()
    return parsed


def check(rt: Runtime, parsed: Parsed, purpose: str, epoch: int) -> None:
    """Raises NotFound for a forged token, Gone for one of an earlier epoch."""
    if tokens.verify(rt.ring, parsed, purpose, epoch):
        return
    for earlier in range(max(1, epoch - _EPOCHS_REMEMBERED), epoch):
        if tokens.verify(rt.ring, parsed, purpose, earlier):
            raise over()
    raise unknown()


def unknown() -> NotFound:
    return NotFound(code="link_not_found", message="There is nothing at this address. Please go back and try again from your account.")


def over() -> Gone:
    return Gone(code="link_expired", message="This link is no longer valid. Please go back to your account and open it again from there.")


def origin_of(url: str) -> str | None:
    """`scheme://host[:port]` of an http(s) URL that means the same to every parser; None for anything else.

    Refused: other schemes, user names, backslashes, control and space characters, anything beyond ASCII, a percent sign in the host.
    """
    if (
        not url
        or len(url) > 2000
        or not url.isascii()
        or any(ord(letter) <= 32 or ord(letter) == 127 or letter in '\\<>"`' for letter in url)
    ):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    if parts.scheme not in {"https", "http"} or not url.lower().startswith(f"{parts.scheme}://") or not host or "@" in parts.netloc:
        return None
    if quote(host, safe="[]:") != host or host.startswith(".") or ".." in host or parts.netloc.endswith(":"):
        return None
    shown = f"[{host}]" if ":" in host else host
    default = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None and port != default else "")


def is_listed(url: str, origins: tuple[str, ...]) -> bool:
    """Whether this URL's origin is exactly one of the workspace's."""
    origin = origin_of(url)
    return origin is not None and origin in {origin_of(listed) for listed in origins}
