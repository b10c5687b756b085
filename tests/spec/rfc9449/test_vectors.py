"""The proofs that the specification shows, at the moment at which they were made."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from keybearer.core.oauth_error import InvalidDpopProof
from keybearer.services.dpop import check_proof
from tests.support.embedded import Embedded, TestClock, embedded

pytestmark = pytest.mark.anyio
MADE_AT = 1_562_262_616
HEADER = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZ"
    "OXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIs"
    "ImNydiI6IlAtMjU2In19"
)
AT_TOKEN_ENDPOINT = HEADER + (
    ".eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3R"
    "va2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FN"
    "yJK70nfbV37xRZT3Lg"
)
AT_RESOURCE = HEADER + (
    ".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9"
    "wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUl"
    "pS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJ"
    "pLjA"
)
ACCESS_TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
THUMBPRINT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
TOKEN_URL = "https://server.example.com/token"
RESOURCE_URL = "https://resource.example.org/protectedresource"


@pytest.fixture
async def world(anyio_backend: str) -> AsyncIterator[Embedded]:
    async with embedded(clock=TestClock(MADE_AT * 1_000_000)) as running:
        yield running


@pytest.mark.spec("RFC 9449", "4.3", "MUST")
async def test_the_proof_of_section_5_once_and_for_its_request(world: Embedded) -> None:
    for wrong in ({"method": "GET"}, {"url": RESOURCE_URL}, {"access_token": ACCESS_TOKEN}):
        with pytest.raises(InvalidDpopProof):
            await check_proof(world.authority, AT_TOKEN_ENDPOINT, **{"method": "POST", "url": TOKEN_URL, **wrong})
    asked = {"method": "POST", "url": TOKEN_URL}
    assert await check_proof(world.authority, AT_TOKEN_ENDPOINT, **asked) == THUMBPRINT
    with pytest.raises(InvalidDpopProof):
        await check_proof(world.authority, AT_TOKEN_ENDPOINT, **asked)


@pytest.mark.spec("RFC 9449", "7.1", "MUST")
async def test_the_proof_of_section_7_is_for_its_access_token(world: Embedded) -> None:
    for wrong in ("other", ""):
        with pytest.raises(InvalidDpopProof):
            await check_proof(world.authority, AT_RESOURCE, method="GET", url=RESOURCE_URL, access_token=wrong)
    found = await check_proof(world.authority, AT_RESOURCE, method="GET", url=RESOURCE_URL, access_token=ACCESS_TOKEN)
    assert found == THUMBPRINT


@pytest.mark.spec("RFC 9449", "11.1", "MUST")
async def test_years_later_they_are_too_old(world: Embedded) -> None:
    world.clock.move(365 * 24 * 3600)
    with pytest.raises(InvalidDpopProof):
        await check_proof(world.authority, AT_TOKEN_ENDPOINT, method="POST", url=TOKEN_URL)
