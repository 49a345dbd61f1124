"""A small key management service, in a process of its own: python -m tests.storage.encryption.kms_plugin SOCKET KEYS.

KEYS is a JSON file {"current": NAME, "keys": {NAME: base64}}, read at every call, so a test changes keys by writing it.
{"healthz": "..."} in it makes the service unwell.
"""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pynetes.rpc.kms import api_pb2 as messages
from pynetes.rpc.server import Failure, serving


class Service:
    """Wraps seeds with AES-GCM."""

    def __init__(self, keys: Path) -> None:
        self._keys = keys

    def _document(self) -> Any:
        return json.loads(self._keys.read_text())

    async def status(self, _request: Any) -> Any:
        document = self._document()
        return messages.StatusResponse(
            version=document.get("version", "v2"), healthz=document.get("healthz", "ok"), key_id=document["current"]
        )

    async def encrypt(self, request: Any) -> Any:
        document = self._document()
        nonce, name = os.urandom(12), document["current"]
        sealed = AESGCM(base64.b64decode(document["keys"][name])).encrypt(nonce, request.plaintext, None)
        return messages.EncryptResponse(
            ciphertext=nonce + sealed, key_id=name, annotations={"kms.example.org/from": b"a test"}
        )

    async def decrypt(self, request: Any) -> Any:
        key = self._document()["keys"].get(request.key_id)
        if key is None:
            raise Failure("NOT_FOUND", f"there is no key {request.key_id}")
        try:
            plain = AESGCM(base64.b64decode(key)).decrypt(request.ciphertext[:12], request.ciphertext[12:], None)
        except InvalidTag:
            raise Failure("INVALID_ARGUMENT", "not encrypted with this key") from None
        return messages.DecryptResponse(plaintext=plain)


async def main(socket: str, keys: str) -> None:
    """Serve until killed."""
    service = messages.DESCRIPTOR.services_by_name["KeyManagementService"]
    async with serving(socket, {service: Service(Path(keys))}, path=0, target="kms"):
        print("serving", flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
