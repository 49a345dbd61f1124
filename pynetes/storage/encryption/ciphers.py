"""The local ciphers of EncryptionConfiguration: aesgcm, aescbc, secretbox and identity, byte for byte as upstream's.

What is stored is k8s:enc:CIPHER:v1:KEY:PAYLOAD. The store's key is authenticated with an aesgcm value, so that whoever
can write to the store cannot move one Secret's value under another's name.
"""

import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

#: Begins everything encrypted. Nothing that begins so is ever taken for plain text.
MARK = b"k8s:enc:"
NONCE = 12
BLOCK = 16


class Undecryptable(Exception):
    """The value cannot be read; the text says why, and holds neither key nor value."""


class Plain(NamedTuple):
    """A decrypted value; stale if a write should encrypt it anew."""

    value: bytes
    stale: bool = False


class Provider(Protocol):
    """One way to encrypt. Providers are asked by the prefix of the value."""

    prefix: bytes

    async def encrypt(self, value: bytes, key: str) -> bytes:
        """The payload behind the prefix; `key` is the store's."""

    async def decrypt(self, payload: bytes, key: str) -> Plain:
        """The value again. Raises Undecryptable."""


class Identity:
    """Plain text."""

    prefix = b""

    async def encrypt(self, value: bytes, key: str) -> bytes:
        """As it is."""
        return value

    async def decrypt(self, payload: bytes, key: str) -> Plain:
        """Refuses what is encrypted: no configured provider has its prefix."""
        if payload.startswith(MARK):
            raise Undecryptable("no configured provider and key reads it")
        return Plain(payload)


class Local:
    """A cipher with one named key."""

    def __init__(self, cipher: str, name: str, secret: bytes) -> None:
        """Raises ValueError for a key of the wrong length."""
        self.prefix = MARK + f"{cipher}:v1:{name}:".encode()
        self._seal, self._open = _CIPHERS[cipher](secret)

    async def encrypt(self, value: bytes, key: str) -> bytes:
        """With fresh randomness for every write."""
        return self._seal(value, key.encode())

    async def decrypt(self, payload: bytes, key: str) -> Plain:
        """Any damage is one error: which check failed would help a forger."""
        try:
            return Plain(self._open(payload, key.encode()))
        except (InvalidTag, ValueError):
            raise Undecryptable("it was altered, moved, or encrypted with another key") from None


#: (value, the store's key) → bytes; raises InvalidTag or ValueError.
Turn = Callable[[bytes, bytes], bytes]


def aesgcm(secret: bytes) -> tuple[Turn, Turn]:
    """nonce, ciphertext, tag; the store's key is authenticated."""
    if len(secret) not in (16, 24, 32):
        raise ValueError("an aesgcm key has 16, 24 or 32 bytes")
    cipher = AESGCM(secret)

    def seal(value: bytes, key: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + cipher.encrypt(nonce, value, key)

    def unseal(payload: bytes, key: bytes) -> bytes:
        return cipher.decrypt(payload[:NONCE], payload[NONCE:], key)

    return seal, unseal


def aescbc(secret: bytes) -> tuple[Turn, Turn]:
    """IV, ciphertext padded as PKCS #7. Not authenticated: kept because existing stores have it."""
    if len(secret) not in (16, 24, 32):
        raise ValueError("an aescbc key has 16, 24 or 32 bytes")

    def seal(value: bytes, key: bytes) -> bytes:
        start, padder = os.urandom(BLOCK), PKCS7(BLOCK * 8).padder()
        encryptor = Cipher(algorithms.AES(secret), modes.CBC(start)).encryptor()
        return start + encryptor.update(padder.update(value) + padder.finalize()) + encryptor.finalize()

    def unseal(payload: bytes, key: bytes) -> bytes:
        decryptor = Cipher(algorithms.AES(secret), modes.CBC(payload[:BLOCK])).decryptor()
        padded, unpadder = decryptor.update(payload[BLOCK:]) + decryptor.finalize(), PKCS7(BLOCK * 8).unpadder()
        return unpadder.update(padded) + unpadder.finalize()

    return seal, unseal


def secretbox(secret: bytes) -> tuple[Turn, Turn]:
    """XSalsa20 and Poly1305: nonce of 24 bytes, then the box."""
    # Only who configures it pays for loading a second library of ciphers.
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    if len(secret) != SecretBox.KEY_SIZE:
        raise ValueError("a secretbox key has 32 bytes")
    box = SecretBox(secret)

    def seal(value: bytes, key: bytes) -> bytes:
        return bytes(box.encrypt(value))

    def unseal(payload: bytes, key: bytes) -> bytes:
        try:
            return box.decrypt(payload)
        except CryptoError as error:
            raise ValueError from error

    return seal, unseal


_CIPHERS = {"aesgcm": aesgcm, "aescbc": aescbc, "secretbox": secretbox}
