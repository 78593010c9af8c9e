"""A visitor without a screen: follows links, fills in forms and keeps cookies, as a browser without JavaScript would."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests


class Lost(Exception):
    """The page is not the one expected; the text says what was found instead."""


@dataclass(slots=True, kw_only=True)
class Form:
    """One form of a page: where it goes, what it would send, and its buttons as (text, name, value)."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str | None, str]] = field(default_factory=list)


class _Forms(HTMLParser):
    """Collects a page's forms."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._select: str | None = None
        self._button: tuple[str | None, str] | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name, value = given.get("name"), given.get("value") or ""
        if tag == "form":
            self.forms.append(Form(action=given.get("action") or "", method=(given.get("method") or "get").lower()))
        if not self.forms:
            return
        form = self.forms[-1]
        match tag:
            case "input" if name and given.get("type") not in {"submit", "button"}:
                if given.get("type") not in {"checkbox", "radio"} or "checked" in given:
                    form.fields[name] = value
            case "select" if name:
                self._select = name
            case "option" if self._select and ("selected" in given or self._select not in form.fields):
                form.fields[self._select] = value
            case "button":
                self._button, self._text = (name, value), ""
            case _:
                pass

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = None
        if tag == "button" and self._button and self.forms:
            self.forms[-1].buttons.append((" ".join(self._text.split()), *self._button))
            self._button = None


class Visitor:
    """One browser session. `page` is the last response."""

    def __init__(self, base_url: str) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.base_url = base_url
        self.page = requests.Response()

    def go(self, url: str) -> requests.Response:
        """GET `url` (absolute or relative to the page, at first to the base) and follow redirects; raises Lost on an error status."""
        return self._arrive(self.session.get(urljoin(self.page.url or self.base_url, url), timeout=30))

    def press(self, text: str, **fields: str) -> requests.Response:
        """Press the first button called `text`, with these fields filled in; raises Lost where there is none."""
        parser = _Forms()
        parser.feed(self.page.text)
        for form in parser.forms:
            for label, name, value in form.buttons:
                if label != text:
                    continue
                data = {**form.fields, **fields, **({name: value} if name else {})}
                url = urljoin(self.page.url, form.action)
                if form.method == "get":
                    return self._arrive(self.session.get(url, params=data, timeout=30))
                return self._arrive(self.session.post(url, data=data, timeout=30, headers={"Referer": self.page.url}))
        there = [label for form in parser.forms for label, _, _ in form.buttons]
        raise Lost(f"{self.page.url} has no button {text!r}, only {there}")

    def _arrive(self, response: requests.Response) -> requests.Response:
        if response.status_code >= 400:
            raise Lost(f"{response.url} answered {response.status_code}: {' '.join(response.text.split())[:600]}")
        self.page = response
        return response
