"""Writes one ConfigMap after the other, whatever happens, and remembers which the API server has acknowledged."""

import base64
import http.client
import json
import ssl
import threading
import time
from pathlib import Path
from types import TracebackType

import yaml

STEP = 0.01


class Writer:
    """Use it with `with`; `acknowledged` are the names that must be there ever after."""

    def __init__(self, kubeconfig: Path, folder: Path, prefix: str) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._host = cluster["server"].removeprefix("https://")
        self._tls = ssl.create_default_context(cadata=_plain(cluster["certificate-authority-data"]))
        (folder / "id.pem").write_text(_plain(user["client-certificate-data"]) + _plain(user["client-key-data"]))
        self._tls.load_cert_chain(folder / "id.pem")
        self._prefix, self._stop, self._thread = prefix, threading.Event(), threading.Thread(target=self._run)
        self.acknowledged: list[str] = []
        #: The longest time between two acknowledgements, in seconds.
        self.longest_silence = 0.0

    def __enter__(self) -> "Writer":
        self._thread.start()
        self.wait_for_more()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_more(self, *, within: float = 30) -> None:
        """Until another write is acknowledged."""
        count, deadline = len(self.acknowledged), time.monotonic() + within
        while len(self.acknowledged) == count:
            assert time.monotonic() < deadline, "no write was acknowledged any more"
            time.sleep(STEP)

    def _run(self) -> None:
        number, last = 0, time.monotonic()
        while not self._stop.is_set():
            number += 1
            name = f"{self._prefix}-{number}"
            if self._write(name):
                self.acknowledged.append(name)
                now = time.monotonic()
                self.longest_silence, last = max(self.longest_silence, now - last), now
            else:
                time.sleep(STEP)

    def _write(self, name: str) -> bool:
        connection = http.client.HTTPSConnection(self._host, context=self._tls, timeout=5)
        try:
            body = json.dumps({"metadata": {"name": name}})
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/api/v1/namespaces/default/configmaps", body, headers)
            return connection.getresponse().status == 201
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _plain(text: str) -> str:
    return base64.b64decode(text).decode()
