"""A person with a browser without scripts, who goes from site to site, signs in and agrees where a page asks."""

from __future__ import annotations

from urllib.parse import urlencode, urljoin, urlsplit

import httpx

from tests.support.authority import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.support.browser import Form, Page


class Visitor:
    """Keeps cookies and follows redirects across sites. Signs in as the administrator unless it is said otherwise."""

    def __init__(self, email: str = ADMIN_EMAIL, password: str = ADMIN_PASSWORD) -> None:
        self.email = email
        self.password = password
        self.http = httpx.Client(trust_env=False, timeout=30)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def open(self, url: str, *, until: str = "") -> Page:
        """Open an address; a redirect to what begins with ``until`` is not followed, but returned."""
        return self._follow(self.http.get(url), until)

    def send(
        self, page: Page, values: dict[str, str] | None = None, *, action: str = "", button: str = "", until: str = ""
    ) -> Page:
        """Fill a form in and press a button, by its id; the first one unless it is said otherwise."""
        form = _form(page, action)
        fields = {**form.fields, **(values or {})}
        pressed = next((one for one in form.buttons if button == one.id), form.buttons[0])
        if pressed.name:
            fields[pressed.name] = pressed.value
        here = str(page.response.url)
        headers = {"content-type": "application/x-www-form-urlencoded", "referer": here}
        answer = self.http.post(urljoin(here, form.action), content=urlencode(fields), headers=headers)
        return self._follow(answer, until)

    def through(self, url: str, *, until: str = "") -> Page:
        """Open an address, and do what the pages ask for until they ask no more: sign in, agree."""
        return self.onward(self.open(url, until=until), until=until)

    def onward(self, page: Page, *, until: str = "") -> Page:
        """Sign in and agree where this page and the next ones ask for it."""
        for _ in range(3):
            asked = {form.action.rpartition("/")[2] for form in page.forms}
            if "sign-in" in asked:
                page = self.send(page, {"email": self.email, "password": self.password}, until=until)
            elif "consent" in asked:
                page = self.send(page, action="/consent", until=until)
            else:
                break
        return page

    def arrives(self, url: str, at: str) -> str:
        """Go through, and return the address with the answer, which begins with ``at``."""
        page = self.through(url, until=at)
        assert page.location.startswith(at), f"{page.status} {page.response.url} {page.location}\n{page.text}"
        return page.location

    def confirm_device(self, verification_uri: str, user_code: str) -> Page:
        """Enter the code that a device shows, and say yes."""
        page = self.through(verification_uri)
        page = self.send(page, {"user_code": user_code}, action="/device")
        page = self.onward(page)
        page = self.send(page, action="/device", button="submit")
        assert page.status == 200, page.text
        return page

    def _follow(self, answer: httpx.Response, until: str) -> Page:
        for _ in range(20):
            if answer.status_code not in (301, 302, 303):
                return Page(answer)
            location = urljoin(str(answer.url), answer.headers["location"])
            if until and location.startswith(until):
                return Page(answer)
            answer = self.http.get(location)
        raise AssertionError(f"too many redirects: {answer.url}")


def _form(page: Page, action: str) -> Form:
    """The first form for this path, wherever the issuer begins."""
    found = [form for form in page.forms if urlsplit(form.action).path.endswith(action)]
    assert found, f"there is no form for {action!r} on this page:\n{page.text}"
    return found[0]
