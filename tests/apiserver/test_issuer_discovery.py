"""Whoever checks ServiceAccounts' tokens elsewhere: the two documents are served, and verify what this server signs."""

from pathlib import Path

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pynetes.pki import issue
from tests.apiserver.harness import api

ISSUER = "https://api.example"


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_documents_verify_tokens_and_nothing_else(algorithm: str, tmp_path: Path) -> None:
    """Discovery leads to the keys, old ones too; a token verifies with them, another's does not; no key is private."""
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    for path in (old, new):
        made = rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else issue.new_key()
        path.write_bytes(issue.private_pem(made))
    async with api(
        service_account_issuer=(ISSUER,),
        service_account_key_file=(str(new), str(old)),
        service_account_signing_key_file=str(new),
        disable_admission_plugins=("ServiceAccount",),
    ) as server:
        document = (await server.get("/.well-known/openid-configuration")).body
        assert document["issuer"] == ISSUER and document["jwks_uri"] == f"{ISSUER}/openid/v1/jwks"
        assert document["id_token_signing_alg_values_supported"] == [algorithm]
        published = await server.get("/openid/v1/jwks")
        assert published.type == "application/jwk-set+json"
        assert len(published.body["keys"]) == 2 and not {"d", "p", "q"} & {
            k for key in published.body["keys"] for k in key
        }
        await server.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "web"}})
        asked = await server.post(
            "/api/v1/namespaces/default/serviceaccounts/web/token", {"spec": {"audiences": ["v"]}}
        )
        token = asked.body["status"]["token"]
        keys = jwt.PyJWKSet.from_dict(orjson.loads(published.raw))
        key = keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(token, key.key, algorithms=[algorithm], audience="v", issuer=ISSUER)
        assert claims["sub"] == "system:serviceaccount:default:web"
        (other,) = [one for one in keys.keys if one.key_id != key.key_id]
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(token, other.key, algorithms=[algorithm], audience="v")
