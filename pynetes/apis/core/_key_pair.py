"""Whether a certificate and a key belong together, in the words of Go's crypto/tls.

A Secret of type kubernetes.io/tls is taken whatever it holds, but who writes one is told.
"""

import re

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n.*?-----END \1-----", re.DOTALL)


def problem(certificate: bytes, key: bytes) -> str:
    """What is wrong with them; "" when nothing is."""
    return _certificate_blocks(certificate) or _key_blocks(key) or _pair(certificate, key)


def _types(data: bytes) -> list[str]:
    return [match.group(1).decode() for match in _BLOCK.finditer(data)]


def _certificate_blocks(data: bytes) -> str:
    found = _types(data)
    if "CERTIFICATE" in found:
        return ""
    if not found:
        return "tls: failed to find any PEM data in certificate input"
    if len(found) == 1 and found[0].endswith("PRIVATE KEY"):
        return (
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; "
            "PEM inputs may have been switched"
        )
    skipped = f"after skipping PEM blocks of the following types: [{' '.join(found)}]"
    return f'tls: failed to find "CERTIFICATE" PEM block in certificate input {skipped}'


def _key_blocks(data: bytes) -> str:
    found = _types(data)
    if any(each == "PRIVATE KEY" or each.endswith(" PRIVATE KEY") for each in found):
        return ""
    if not found:
        return "tls: failed to find any PEM data in key input"
    if found == ["CERTIFICATE"]:
        return "tls: found a certificate rather than a key in the PEM for the private key"
    skipped = f"after skipping PEM blocks of the following types: [{' '.join(found)}]"
    return f'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input {skipped}'


def _pair(certificate: bytes, key: bytes) -> str:
    from cryptography import x509  # takes as long to import as all of the records
    from cryptography.hazmat.primitives import serialization

    blocks = [match.group(0) for match in _BLOCK.finditer(certificate) if match.group(1) == b"CERTIFICATE"]
    keys = [match.group(0) for match in _BLOCK.finditer(key) if match.group(1).endswith(b"PRIVATE KEY")]
    try:
        public = x509.load_pem_x509_certificate(blocks[0]).public_key()
    except Exception:  # whatever the library raises, it is no certificate
        return "x509: malformed certificate"
    try:
        private = serialization.load_pem_private_key(keys[0], None)
    except Exception:  # the same for keys
        return "tls: failed to parse private key"
    own = private.public_key()
    if type(own) is not type(public):
        return "tls: private key type does not match public key type"
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if own.public_bytes(*form) != public.public_bytes(*form):
        return "tls: private key does not match public key"
    return ""
