"""One finding that the authority refuses keeps it from learning of no other."""

import json

import httpx

from keybearer.client import Keybearer, Retries
from keybearer.core.secret import Secret
from keybearer.scanner.authority import AuthorityMatcher
from keybearer.scanner.sightings import Place, Sighting
from tests.support.spelling import credential


def test_a_refused_batch_is_told_in_parts() -> None:
    told: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        findings = json.loads(request.content)["findings"]
        if any(one["source"].get("name") == "bad" for one in findings):
            problem = {"type": "x", "title": "bad", "status": 422, "errors": [{"field": "name", "message": "bad"}]}
            return httpx.Response(422, json=problem, headers={"content-type": "application/problem+json"})
        told.extend(one["credential"] for one in findings)
        return httpx.Response(200, json={"findings": [{"state": "live", "action": "none"} for _ in findings]})

    texts = [credential(number=number) for number in range(9)]
    sightings = [
        Sighting(Secret(text), "secret_key", Place("log", "bad" if number == 5 else "good", 1, 1), "plain")
        for number, text in enumerate(texts)
    ]
    transport = httpx.MockTransport(answer)
    with Keybearer("http://127.0.0.1:1", "key", transport=transport, retries=Retries(attempts=1)) as client:
        verdicts = AuthorityMatcher(client).check(sightings, act=True)
    assert [verdict.state for verdict in verdicts] == ["live"] * 9
    assert told == texts
