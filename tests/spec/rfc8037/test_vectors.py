"""The Ed25519 examples of the specification."""

from __future__ import annotations

import pytest

from keybearer.formats import jws
from keybearer.formats.jws import InvalidJws
from keybearer.services.dpop import thumbprint_of

KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
TEXT = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)


@pytest.mark.spec("RFC 8037", "3.1", "MUST")
def test_the_signature_of_appendix_a_5() -> None:
    # Its payload is no JSON object: the signature is good, and it is no token all the same.
    with pytest.raises(InvalidJws) as refused:
        jws.verify(jws.parse(TEXT), KEY, frozenset({"EdDSA"}))
    assert "payload" in (refused.value.detail or "")
    with pytest.raises(InvalidJws) as refused:
        jws.verify(jws.parse(TEXT[:-2] + "AA"), KEY, frozenset({"EdDSA"}))
    assert "payload" not in (refused.value.detail or "")


@pytest.mark.spec("RFC 8037", "2", "MUST")
def test_the_thumbprint_of_appendix_a_3() -> None:
    assert thumbprint_of(KEY) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
