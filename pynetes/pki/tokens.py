"""What whoever signs ServiceAccounts' tokens and whoever verifies them have to agree on."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
#: The issuer of tokens that lie in Secrets: they name no audience and no end.
LEGACY = "kubernetes/serviceaccount"
#: Before the names of their claims.
PREFIX = f"{LEGACY.replace('kubernetes/', 'kubernetes.io/')}/"


def key_id(key: PublicKey) -> str:
    """The kid of upstream: the SHA-256 of the key's DER, in URL-safe base64 without padding."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def algorithm(key: PublicKey) -> str:
    """RS256 or ES256, by the key's kind."""
    return "ES256" if isinstance(key, ec.EllipticCurvePublicKey) else "RS256"


def sign(claims: Mapping[str, Any], key: PrivateKey) -> str:
    """A JWT."""
    public = key.public_key()
    return jwt.encode(dict(claims), key, algorithm=algorithm(public), headers={"kid": key_id(public)})
