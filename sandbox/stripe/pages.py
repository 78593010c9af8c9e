"""What the local Stripe's own pages look like: authorize, customer portal, and what went wrong."""

from __future__ import annotations

import html
import secrets
from collections.abc import Iterable, Mapping
from string import Template

from sandbox.stripe.wire import Reply

_STYLE = """
:root { color-scheme: light dark; --ink: #1a2233; --soft: #5b667d; --line: #dfe3eb; --paper: #fff; --ground: #f4f6fa; --accent: #4b45c6; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eceff6; --soft: #a3adc2; --line: #333b4d; --paper: #1b202c; --ground: #12151d; --accent: #8b86ff; }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px 16px; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 30rem; background: var(--paper); border: 1px solid var(--line); border-radius: 14px; padding: 28px; }
.tag { display: inline-block; font-size: 12px; font-weight: 600; letter-spacing: .02em; padding: 2px 10px; border-radius: 99px;
  border: 1px solid var(--line); color: var(--soft); }
h1 { font-size: 22px; line-height: 1.25; margin: 14px 0 6px; }
h2 { font-size: 15px; margin: 26px 0 8px; }
p { margin: 6px 0 14px; color: var(--soft); }
label { display: block; font-weight: 600; font-size: 14px; margin: 14px 0 4px; }
select, input { width: 100%; font: inherit; padding: 10px 12px; border: 1px solid var(--line); border-radius: 8px; background: var(--paper);
  color: var(--ink); }
ul { list-style: none; margin: 0; padding: 0; border: 1px solid var(--line); border-radius: 10px; }
li { padding: 12px 14px; display: flex; gap: 12px; justify-content: space-between; align-items: center; flex-wrap: wrap; }
li + li { border-top: 1px solid var(--line); }
small { color: var(--soft); display: block; margin-top: 4px; }
ul + p, form + p { margin: 18px 0 0; }
.row { display: flex; gap: 10px; margin-top: 22px; }
button { font: inherit; font-weight: 600; padding: 10px 18px; min-height: 44px; border-radius: 8px; border: 1px solid var(--line);
  background: var(--paper); color: var(--ink); cursor: pointer; }
button.main { background: var(--accent); border-color: var(--accent); color: #fff; flex: 1; }
@media (prefers-color-scheme: dark) { button.main { color: #12151d; } }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
a { color: var(--accent); }
.error { color: #b3261e; font-weight: 600; }
@media (prefers-color-scheme: dark) { .error { color: #ff9b93; } }
"""

_PAGE = Template(
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    '<title>$title</title><style nonce="$nonce">$style</style></head><body><main><span class="tag">$tag</span>$content</main></body></html>'
)


def escape(value: object) -> str:
    """Text as HTML."""
    return html.escape(str(value))


def page(title: str, content: str, *, tag: str = "Local Stripe", status: int = 200) -> Reply:
    """A whole page under a strict policy; `content` is HTML."""
    nonce = secrets.token_urlsafe(12)
    body = _PAGE.substitute(title=escape(title), nonce=nonce, style=_STYLE, tag=escape(tag), content=content)
    return Reply(
        status=status,
        headers={
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": f"default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; frame-ancestors 'none'",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        },
        body=body.encode(),
    )


def problem(message: str, status: int = 400) -> Reply:
    """A page that says what went wrong."""
    return page("Something went wrong", f"<h1>Something went wrong</h1><p>{escape(message)}</p>", status=status)


def redirect(url: str) -> Reply:
    """303: go there with a GET."""
    return Reply(status=303, headers={"Location": url, "Cache-Control": "no-store", "Content-Type": "text/plain"}, body=b"")


def hidden(fields: Mapping[str, str]) -> str:
    """Hidden inputs."""
    return "".join(f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items())


def authorize(platform: str, mode: str, scope: str, accounts: Iterable[tuple[str, str]], fields: Mapping[str, str]) -> Reply:
    """The page on which an owner chooses an account and allows access, or does not."""
    options = "".join(f'<option value="{escape(id)}">{escape(name)} ({escape(id)})</option>' for id, name in accounts)
    may = "read and change" if scope == "read_write" else "read"
    return page(
        f"Connect to {platform}",
        f"<h1>Connect {escape(platform)} to your account</h1>"
        f"<p>{escape(platform)} asks to {may} your customers, subscriptions, invoices and prices in {mode} mode.</p>"
        f'<form method="post" action="/oauth/authorize">{hidden(fields)}'
        f'<label for="account">Account</label><select id="account" name="account">{options}</select>'
        '<div class="row"><button class="main" name="decision" value="authorize">Authorize</button>'
        '<button name="decision" value="cancel">Cancel</button></div></form>',
        tag=f"Local Stripe · {mode} mode",
    )


def card_form(action: str, error: str | None = None) -> str:
    """The form that takes another card."""
    told = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    return (
        f'{told}<form method="post" action="{escape(action)}/card">'
        '<label for="number">Card number</label>'
        '<input id="number" name="number" inputmode="numeric" autocomplete="off" value="4242 4242 4242 4242">'
        "<small>4242… works. 4000 0000 0000 0341 is accepted now and declines later. 4000 0000 0000 0002 is refused.</small>"
        '<div class="row"><button class="main">Save card</button></div></form>'
    )
