"""A browser without scripts: it keeps cookies, reads forms, and sends them as their buttons say."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx


@dataclass
class Button:
    """A submit button: its own name and value, and what stands on it."""

    name: str
    value: str
    id: str
    text: str = ""


@dataclass
class Form:
    """A form as it stands on a page. ``fields`` has what would be sent without a button; ``boxes`` all checkboxes."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    boxes: list[str] = field(default_factory=list)
    buttons: list[Button] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._button: Button | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(has["action"], has.get("method", "get"))
            self.forms.append(self._form)
        elif tag == "input" and self._form is not None:
            is_box = has.get("type") == "checkbox"
            if is_box:
                self._form.boxes.append(has["name"])
            if has.get("name") and (not is_box or "checked" in has):
                self._form.fields[has["name"]] = has.get("value", "")
        elif tag == "button" and self._form is not None:
            self._button = Button(has.get("name", ""), has.get("value", ""), has.get("id", ""))
            self._form.buttons.append(self._button)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "button":
            self._button = None

    def handle_data(self, data: str) -> None:
        if self._button is not None:
            self._button.text += data


class Page:
    """An answer, and what can be done with it."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.status = response.status_code
        self.headers = response.headers
        self.text = response.text
        reader = _Reader()
        reader.feed(self.text)
        self.forms = reader.forms

    @property
    def words(self) -> str:
        """The page as text, entities resolved."""
        return html.unescape(self.text)

    @property
    def location(self) -> str:
        return str(self.headers.get("location", ""))

    @property
    def answer(self) -> dict[str, str]:
        """The parameters of the redirect that this is, from its query or its fragment."""
        parts = urlsplit(self.location)
        return dict(parse_qsl(parts.query or parts.fragment, keep_blank_values=True, strict_parsing=True))

    def form(self, action: str = "") -> Form:
        found = [form for form in self.forms if not action or urlsplit(form.action).path == action]
        assert found, f"there is no form for {action!r} on this page:\n{self.text}"
        return found[0]


class Browser:
    """Follows redirects within the authority, and stops at those that leave it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def get(self, url: str, *, follow: bool = True, **options: Any) -> Page:
        return await self._follow(await self.http.get(url, **options), follow)

    async def post(self, url: str, data: dict[str, str] | str, *, follow: bool = True, **options: Any) -> Page:
        body = data if isinstance(data, str) else urlencode(data)
        headers = {"content-type": "application/x-www-form-urlencoded", **options.pop("headers", {})}
        return await self._follow(await self.http.post(url, content=body, headers=headers, **options), follow)

    async def send(
        self,
        page: Page,
        values: dict[str, str | None] | None = None,
        *,
        action: str = "",
        button: str = "",
        follow: bool = True,
    ) -> Page:
        """Fill a form in and press a button, by its id or value; ``None`` as a value leaves a field out."""
        form = page.form(action)
        fields = {name: value for name, value in {**form.fields, **(values or {})}.items() if value is not None}
        pressed = next((one for one in form.buttons if button in (one.id, one.value)), form.buttons[0])
        if pressed.name:
            fields[pressed.name] = pressed.value
        return await self.post(urljoin(str(page.response.url), form.action), fields, follow=follow)

    async def _follow(self, response: httpx.Response, follow: bool) -> Page:
        for _ in range(10):
            location = response.headers.get("location", "")
            if not follow or not location.startswith("/"):
                return Page(response)
            assert response.status_code == 303, response.status_code
            response = await self.http.get(location)
        raise AssertionError("too many redirects")
