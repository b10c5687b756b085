"""The grammar of credentials: every flipped or missing character is refused, and junk costs no I/O."""

from __future__ import annotations

import copy
import json
import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core import base62, credential
from keybearer.core.instant import Instant
from keybearer.core.secret import Secret

NOW = Instant(1_795_000_000_000_000)
PREFIXES = ["kb_sk_live", "kb_sk_test", "kb_pk_live", "kb_pk_test", "acme_sk_live", "a1_pk_test"]


def minted(prefix: str = "kb_sk_live") -> str:
    return credential.mint(prefix, credential.new_id(NOW)).reveal()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_minted_credential_parses_back(prefix: str) -> None:
    credential_id = credential.new_id(NOW)
    text = credential.mint(prefix, credential_id).reveal()
    assert credential.split(text) == (prefix, credential_id)
    assert len(text) < 255
    assert len(text.rsplit("_", 1)[1]) == credential.SECRET_LENGTH + credential.CHECKSUM_LENGTH


def test_the_secret_has_190_bits_from_an_unbiased_alphabet() -> None:
    seen = "".join(base62.random_text(credential.SECRET_LENGTH) for _ in range(2000))
    assert set(seen) == set(base62.ALPHABET)
    assert 62**credential.SECRET_LENGTH > 2**190


def test_every_prefix_of_a_credential_is_refused() -> None:
    """ZITADEL CVE-2026-27840: truncated tokens stayed valid."""
    text = minted()
    assert all(credential.split(text[:end]) is None for end in range(len(text)))


def test_every_single_changed_character_is_refused() -> None:
    text = minted()
    for index, old in enumerate(text):
        for new in string.ascii_letters + string.digits + "_- ":
            if new != old:
                assert credential.split(text[:index] + new + text[index + 1 :]) is None


@given(st.text(max_size=300))
def test_no_text_makes_the_parser_fail(text: str) -> None:
    assert credential.split(text) is None


@given(st.sampled_from(["\n", " ", "\0", "é", "０"]), st.booleans())
def test_nothing_may_stand_around_a_credential(extra: str, before: bool) -> None:
    text = minted()
    assert credential.split(extra + text if before else text + extra) is None


@given(st.integers(0, 2**32 - 1))
def test_the_checksum_encoding_is_the_plain_one(crc: int) -> None:
    assert base62.encode_crc32(crc) == base62.encode(crc, 6)


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        base62.encode(62**3, 3)
    with pytest.raises(ValueError, match="does not fit"):
        base62.encode(-1, 3)


def test_later_ids_sort_later() -> None:
    moments = (1_700_000_000_000_000, 1_700_000_000_001_000, 1_900_000_000_000_000)
    ids = [credential.new_id(Instant(at)) for at in moments]
    assert ids == sorted(ids)
    assert {len(i) for i in ids} == {credential.ID_LENGTH}


def test_a_secret_cannot_be_seen() -> None:
    secret = Secret("hush-hush")
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>40}",
        f"{secret}",
        repr([secret]),
        repr({"k": secret}),
    ):
        assert "hush" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        hash(secret)
    assert secret == Secret("hush-hush")
    assert secret != Secret("other")
    assert secret != "hush-hush"


@given(st.integers(0, 62**7 * 1000 - 1), st.integers(0, 62**7 * 1000 - 1))
def test_ids_that_expire_later_sort_later(first: int, second: int) -> None:
    ids = [credential.new_expiring_id(Instant(at)) for at in (first, second)]
    assert all(len(one) == credential.ID_LENGTH and set(one) <= set(base62.ALPHABET) for one in ids)
    if first // 1000 < second // 1000:
        assert ids[0] < credential.first_id_at(Instant(second)) <= ids[1]
    assert [credential.expiry_of(one) for one in ids] == [first // 1000 * 1000, second // 1000 * 1000]


@pytest.mark.parametrize("junk", ["", "short", "A" * 15, "A" * 17, "-" * 16, "é" * 16])
def test_what_is_no_id_has_no_expiry(junk: str) -> None:
    with pytest.raises(ValueError, match="not"):
        credential.expiry_of(junk)


@given(st.integers(0, 62**7 - 1))
def test_base62_numbers_come_back(number: int) -> None:
    assert base62.decode(base62.encode(number, 7)) == number
