"""The whole story in a real Chromium: people ask, answer, vote and moderate, and programs read with a key."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import Page

from examples.qa.tests.running import Example
from tests.support.chromium import DESK, PHONE, Chromium, find_chromium, running

ADA, BEN, CLEO = "ada@qa.example", "ben@qa.example", "cleo@qa.example"
TOO_WIDE = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"
UNLABELLED = """() => [...document.querySelectorAll("input:not([type=hidden]), textarea, button, a")]
    .filter((one) => !(one.labels?.length || one.textContent.trim() || one.getAttribute("aria-label")))
    .map((one) => one.outerHTML)"""
TRICK = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    started = Example(tmp_path_factory.mktemp("qa"))
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    program = find_chromium()
    if program is None:
        pytest.skip("Chromium is not installed")
    with running(program) as browser:
        yield browser


@pytest.fixture(autouse=True)
def _nothing_complains(chromium: Chromium) -> Iterator[None]:
    chromium.complaints.clear()
    yield
    assert chromium.complaints == []


def ask(page: Page, title: str, body: str = "Is there a way that does not hurt?", tags: str = "keys") -> str:
    page.click("text=Ask a question")
    page.fill("#title", title)
    page.fill("#body", body)
    page.fill("#tags", tags)
    page.click("button:has-text('Ask')")
    page.wait_for_url("**/questions/*")
    return page.url


def answer(page: Page, url: str, body: str) -> None:
    page.goto(url)
    page.fill("#body", body)
    page.click("button:has-text('Answer')")
    page.wait_for_url("**#post-*")


def look_over(page: Page) -> None:
    for width in (320, 390, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        assert not page.evaluate(TOO_WIDE), f"{page.url} is wider than {width}"
    assert page.evaluate(UNLABELLED) == [], page.url
    assert page.locator("h1").count() == 1, page.url
    assert page.get_attribute("html", "lang") == "en"


def score(example: Example, post_id: int) -> int:
    """What a stranger sees."""
    text = httpx.get(f"{example.url}/questions/{post_id}", follow_redirects=True).text
    found = re.search(rf'id="post-{post_id}".*?class="score"[^>]*>(-?\d+)<', text, re.DOTALL)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize(("viewport", "scripts"), [(DESK, True), (PHONE, False)], ids=["desk", "phone-no-scripts"])
def test_people_ask_answer_vote_comment_edit_and_accept(
    example: Example, chromium: Chromium, viewport: dict[str, int], scripts: bool
) -> None:
    size: dict[str, Any] = {"viewport": viewport, "scripts": scripts}
    title = f"How do we rotate keys at {viewport['width']} requests a second?"
    with chromium.profile(**size) as cleos, chromium.profile(**size) as bens, chromium.profile(**size) as adas:
        cleo = example.sign_in(cleos, CLEO)
        url = ask(cleo, title)
        ben, ada = example.sign_in(bens, BEN), example.sign_in(adas, ADA)
        answer(ben, url, "Announce it a month ahead, and stop the old key at midnight.")
        answer(
            ada, url, "Let **both** secrets work for a while:\n\n- make the new one\n- watch the old one fall silent"
        )
        ada.goto(url)
        assert [text[:8] for text in ada.locator("article .text").all_inner_texts()][1:] == ["Announce", "Let both"]
        assert ada.locator("article").nth(2).locator("strong").inner_text() == "both"
        # The better answer is voted up, and rises to the top. Nobody votes for themselves.
        assert ada.locator("article").nth(2).locator("button[aria-label='Vote up']").is_disabled()
        cleo.goto(url)
        cleo.locator("article").nth(2).locator("button[aria-label='Vote up']").click()
        cleo.wait_for_url("**#post-*")
        first = cleo.locator("article").nth(1)
        assert first.inner_text().lstrip("▲\n ").startswith("1")
        assert "Let both secrets work" in first.inner_text()
        assert first.locator("button[aria-label='Vote up']").get_attribute("aria-pressed") == "true"
        first.locator("summary:has-text('Comment')").click()
        first.locator("input[name=body]").fill("How long is a while?")
        first.locator("button:has-text('Add comment')").click()
        cleo.wait_for_selector(".comments >> text=How long is a while?")
        cleo.locator("article").nth(1).locator("button:has-text('Accept')").click()
        cleo.wait_for_selector("article .tick")
        # An edit keeps what was said before.
        ada.goto(url)
        with ada.expect_navigation():
            ada.locator("article").nth(1).locator("a:has-text('Edit')").click()
        ada.fill("#body", "Let both secrets work for a day, and watch the old one fall silent.")
        ada.click("button:has-text('Save')")
        ada.wait_for_url("**#post-*")
        with ada.expect_navigation():
            ada.click("a:has-text('edited')")
        assert ada.locator(".revision h2").count() == 2
        assert "make the new one" in ada.inner_text("main")
        ben.fill("#q", title[:30])
        with ben.expect_navigation():
            ben.press("#q", "Enter")
        assert title in ben.inner_text(".questions")
        ben.click(".me button:has-text('Sign out')")
        ben.wait_for_url(f"{example.url}/")
        assert ben.is_visible("text=Sign in")
    with chromium.profile(**size) as strangers:
        stranger = strangers.new_page()
        stranger.goto(url)
        assert "Accepted" in stranger.locator("article").nth(1).inner_text()
        stranger.locator("article").nth(1).locator("button[aria-label='Vote up']").click()
        stranger.wait_for_url(f"{example.issuer}/sign-in*")


def test_every_page_is_readable_and_labelled(example: Example, chromium: Chromium) -> None:
    with chromium.profile(viewport=PHONE) as profile:
        page = example.sign_in(profile, ADA)
        for path in (
            *(
                "/",
                "/?sort=votes",
                "/questions/1",
                "/ask",
                "/posts/3/edit",
                "/posts/1/history",
                "/tags",
                "/tags/api-keys",
            ),
            *(
                "/people",
                f"/people/{example.demo.people[ADA]}",
                "/search?q=token",
                "/search?q=zzz",
                "/developers",
                "/no",
            ),
        ):
            page.goto(example.url + path)
            look_over(page)


def test_by_keyboard_alone(example: Example, chromium: Chromium) -> None:
    with chromium.profile() as profile:
        page = example.sign_in(profile, ADA, back_to="/ask")
        page.focus("#title")
        page.keyboard.type("Can I ask without a mouse?")
        page.keyboard.press("Tab")
        page.keyboard.type("Everything here is a form, a link or a button.")
        page.keyboard.press("Tab")
        page.keyboard.type("keyboard")
        page.keyboard.press("Enter")
        page.wait_for_url("**/questions/*")
        assert page.inner_text("h1") == "Can I ask without a mouse?"


def test_what_people_write_stays_text(example: Example, chromium: Chromium) -> None:
    with chromium.profile() as profile:
        page = example.sign_in(profile, BEN)
        url = ask(page, f"Is this a script? {TRICK}", f"{TRICK}\n\n[x](javascript:alert(1)) `{TRICK}`")
        for path in ("", "/search?q=script", "/"):
            page.goto(url if not path else example.url + path)
            assert "taken" not in page.title().replace(TRICK, "")
            assert page.locator("main script, main img").count() == 0
        policy = httpx.get(url).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy


def test_a_form_of_another_site_or_session_does_nothing(example: Example, chromium: Chromium) -> None:
    with chromium.profile() as profile:
        page = example.sign_in(profile, BEN)
        cookies = {one["name"]: one["value"] for one in profile.cookies(example.url)}
        kept = next(one for one in profile.cookies(example.url) if one["name"] == "qa")
        assert kept["httpOnly"] is True
        assert kept["sameSite"] == "Lax"
        token = page.get_attribute("input[name=form_token]", "value")
        before = score(example, 1)
        for headers, form in (
            ({"Origin": "https://evil.example"}, {"form_token": token, "vote": "up"}),
            ({"Origin": "null"}, {"form_token": token, "vote": "up"}),
            ({"Sec-Fetch-Site": "cross-site"}, {"form_token": token, "vote": "up"}),
            ({}, {"form_token": "guessed", "vote": "up"}),
            ({}, {"vote": "up"}),
        ):
            done = httpx.post(f"{example.url}/posts/1/vote", data=form, headers=headers, cookies=cookies)
            assert done.status_code == 403
        assert score(example, 1) == before
        for query in ("code=x&state=y", "code=x&state=%C3%A9", "code=x", ""):
            assert httpx.get(f"{example.url}/signed-in?{query}", cookies=cookies).status_code == 400
        for back in ("//evil.example", "https://evil.example", "/\\evil.example"):
            page.goto(f"{example.url}/sign-in?next={back}")
            assert page.url == f"{example.url}/"


def test_whoever_withdraws_their_leave_writes_no_more(example: Example, chromium: Chromium) -> None:
    with chromium.profile() as profile:
        page = example.sign_in(profile, CLEO)
        page.goto(f"{example.url}/questions/4")
        vote = page.locator("article").first.locator("button[aria-label='Vote down']")
        with example.administrator() as keybearer:
            grants = keybearer.grants.list(user_id=example.demo.people[CLEO], state="enabled")
            for grant in grants:
                keybearer.grants.revoke(grant.id)
        revoked = time.monotonic()
        before = score(example, 4)
        vote.click()
        page.wait_for_url(f"{example.issuer}/**")  # signed in there still, but asked for consent anew
        assert time.monotonic() - revoked < 5
        assert page.inner_text("h1") == "Allow Keyhole?"
        assert score(example, 4) == before


def test_a_token_is_refused_within_a_second_after_its_grant_was_revoked(example: Example, chromium: Chromium) -> None:
    with chromium.profile() as profile:
        page = example.sign_in(profile, ADA)
        token = example.token(page, "qa:vote")
    vote = {"json": {"value": 1}}
    assert example.api("PUT", "/posts/1/vote", token=token, **vote).status_code == 200
    with example.administrator() as keybearer:
        for grant in keybearer.grants.list(client_id=example.demo.terminal_client_id, state="enabled"):
            keybearer.grants.revoke(grant.id)
    revoked = time.monotonic()
    while (answered := example.api("PUT", "/posts/1/vote", token=token, **vote)).status_code == 200:
        assert time.monotonic() - revoked < 1
    assert answered.status_code == 401
    assert answered.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


def test_programs_read_with_a_key_until_its_plan_is_used_up(example: Example) -> None:
    key = example.demo.key
    assert example.api("GET", "/questions").status_code == 401
    found = example.api("GET", "/questions?sort=votes&q=token", key=key)
    assert found.status_code == 200
    assert found.json()["questions"][0]["title"] == "What is the difference between an API key and an access token?"
    thread = example.api("GET", "/questions/8", key=key).json()
    assert thread["accepted_id"] == thread["answers"][0]["id"]
    # Nobody writes in the name of an application.
    wrote = example.api("PUT", "/posts/8/vote", key=key, json={"value": 1})
    assert wrote.status_code == 401
    assert wrote.headers["www-authenticate"].startswith("Bearer ")
    assert 'scope="qa:vote"' in wrote.headers["www-authenticate"]
    answers = [example.api("GET", "/tags", key=key) for _ in range(25)]
    over = next(one for one in answers if one.status_code != 200)
    assert over.status_code == 429
    assert 0 < int(over.headers["retry-after"]) <= 60
    assert '"requests";r=0' in over.headers["ratelimit"]


def test_a_token_does_what_its_person_agreed_to_and_no_more(example: Example, chromium: Chromium) -> None:
    with chromium.profile() as profile:
        page = example.sign_in(profile, BEN)
        token = example.token(page, "qa:questions.read", "qa:ask", "qa:answer", "qa:comment", "qa:edit")
    made = example.api(
        "POST",
        "/questions",
        token=token,
        json={"title": "May a program ask for me?", "body": "It may, since I said so.", "tags": ["tokens"]},
    )
    assert made.status_code == 201
    question = made.json()["id"]
    assert example.api("GET", f"/questions/{question}", token=token).json()["question"]["author"] == "Ben"
    refused = example.api("PUT", "/posts/1/vote", token=token, json={"value": 1})
    assert refused.status_code == 403
    assert 'error="insufficient_scope", scope="qa:vote"' in refused.headers["www-authenticate"]
    assert example.api("GET", "/flags", token=token).status_code == 403
    own = example.api(
        "POST", f"/questions/{question}/answers", token=token, json={"body": "And it may answer me as well."}
    )
    answer_id = own.json()["id"]
    path = f"/questions/{question}/accepted"
    assert example.api("PUT", path, token=token, json={"answer_id": 1}).status_code == 422
    assert example.api("PUT", path, token=token, json={"answer_id": answer_id}).status_code == 204
    assert example.api("GET", f"/questions/{question}", token=token).json()["accepted_id"] == answer_id
    assert example.api("POST", f"/posts/{answer_id}/comments", token=token, json={"body": "Fine."}).status_code == 201
    edited = {"title": "May a program ask for me, now?", "body": "It may, since I said so twice.", "tags": ["tokens"]}
    assert example.api("PUT", f"/posts/{question}", token=token, json=edited).status_code == 204
    assert len(example.api("GET", f"/posts/{question}/history", token=token).json()) == 2
    wrong = example.api("POST", "/questions", token=token, json={"title": "Short", "body": "x" * 30, "tags": ["a"]})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "title")
    huge = example.api("POST", "/questions", token=token, content=b" " * 300_000)
    assert huge.status_code == 413
    assert example.api("PUT", "/posts/99999/flag", token=token, json={"reason": "not there"}).status_code == 404


def test_an_administrator_makes_a_moderator_who_closes_and_restores(example: Example, chromium: Chromium) -> None:
    with chromium.profile() as profile:
        page = example.sign_in(profile, ADA)
        url = ask(page, "Which is the best editor of all?")
        assert page.locator("summary:has-text('Moderate')").count() == 0
        page.goto(example.url + "/flags")
        assert page.inner_text("h1") == "For moderators"
        with example.administrator() as keybearer:
            keybearer.users.update(example.demo.people[ADA], permissions=["qa:moderate"])
        page.goto(example.url)
        page.click(".me button:has-text('Sign out')")
        page.wait_for_url(f"{example.url}/")
        page.goto(f"{example.url}/sign-in")
        example.prove(page, ADA)
        assert page.inner_text(".me .badge") == "moderator"
        page.goto(url)
        page.locator("summary:has-text('Moderate')").first.click()
        page.locator("input[name=reason]").last.fill("This is a matter of taste.")
        page.click("button:has-text('Close')")
        page.wait_for_selector(".closed >> text=This is a matter of taste.")
        assert page.locator("form.write").count() == 0
        page.locator("summary:has-text('Moderate')").first.click()
        page.locator("input[name=reason]").last.fill("And it is not even a question.")
        page.click("button:has-text('Delete')")
        page.wait_for_selector("text=Deleted: only moderators see this.")
        assert httpx.get(url).status_code == 404
        page.locator("summary:has-text('Moderate')").first.click()
        page.click("button:has-text('Restore')")
        page.wait_for_selector("article:not(.deleted)")
        assert httpx.get(url).status_code == 200
        # What was given can be taken back, and that counts at once.
        with example.administrator() as keybearer:
            keybearer.users.update(example.demo.people[ADA], permissions=[])
        page.goto(example.url + "/flags")
        assert page.inner_text("h1") == "For moderators"


def test_the_openapi_document_shows_the_guards(example: Example) -> None:
    document = httpx.get(f"{example.url}/api/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["ApiKey"] == {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."}
    assert schemes["Bearer"]["scheme"] == "bearer"
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["security"], path
    vote = document["paths"]["/posts/{post_id}/vote"]["put"]
    assert vote["security"] == [{"Bearer": ["qa:vote"]}]
    read = document["paths"]["/questions"]["get"]
    assert read["security"] == [{"ApiKey": ["qa:questions.read"]}, {"Bearer": ["qa:questions.read"]}]


def test_the_command_starts_again_with_its_data_and_ends_what_it_began(example: Example, tmp_path: Any) -> None:
    again = Example(tmp_path)
    again.start()
    process = again.process
    assert process is not None
    children = psutil.Process(process.pid).children(recursive=True)
    assert any("serve" in child.cmdline() for child in children)
    key = again.demo.key
    again.stop()
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    again.start()
    try:
        assert again.demo.key == key
        assert again.api("GET", "/questions", key=key).status_code == 200
        assert "Traceback" not in again.output
    finally:
        again.stop()
