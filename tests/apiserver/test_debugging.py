"""The pages that a server has for those who look for faults."""

import logging

import orjson
import pytest

from pynetes.apiserver import debugging
from pynetes.apiserver.config import Config
from pynetes.apiserver.http import request
from pynetes.component import logs
from pynetes.machinery.errors import StatusError

_LISTED = ["/", "/api", "/apis", "/healthz", "/metrics", "/version"]


def _get(path: str, accept: str = "", *, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
    headers = {"accept": accept} if accept else {}
    found = debugging.answer(request(method, path, headers=headers, body=body), Config(), _LISTED)
    assert found is not None
    return found.status, bytes(found.body)


@pytest.mark.parametrize("path", ["/statusz", "/flagz"])
def test_text_unless_a_version_is_named(path: str) -> None:
    """JSON as such is not acceptable: its form could not stay."""
    assert b"kube-apiserver" in _get(path)[1]
    assert b"kube-apiserver" in _get(path, "*/*")[1]
    with pytest.raises(StatusError) as caught:
        _get(path, "application/json")
    assert caught.value.code == 406
    kind = path[1:].capitalize()
    found = orjson.loads(_get(path, f"application/json;as={kind};g=config.k8s.io;v=v1beta1")[1])
    assert (found["kind"], found["apiVersion"]) == (kind, "config.k8s.io/v1beta1")


def test_the_api_is_no_page_and_secrets_are_no_flags() -> None:
    """statusz points at what helps; flagz shows no secret."""
    assert b"paths: /flagz /healthz /metrics /statusz /version" in _get("/statusz")[1]
    shown = debugging.flags(Config())
    assert shown["secure-port"] == "6443"


def test_the_log_level_changes_by_put() -> None:
    """To any number, and to nothing else."""
    before = logging.getLogger().level
    try:
        assert _get("/debug/flags/v", method="PUT", body=b"5") == (200, b"successfully set verbosity to 5")
        assert logging.getLogger().level == logging.DEBUG
        assert _get("/debug/flags/v", method="PUT", body=b"x")[0] == 400
        assert _get("/debug/flags/v")[0] == 406
    finally:
        logs.set_verbosity(0)
        logging.getLogger().setLevel(before)


def test_profiling_can_be_left_out() -> None:
    """A hardened server has no /debug at all, and says of itself what it said before."""
    for path in ("/debug/pprof", "/debug/pprof/cmdline", "/debug/flags/v"):
        assert debugging.answer(request("GET", path), Config(profiling=False), _LISTED) is None
    assert debugging.answer(request("PUT", "/debug/flags/v", body=b"5"), Config(profiling=False), _LISTED) is None
    assert debugging.answer(request("GET", "/statusz"), Config(profiling=False), _LISTED) is not None


async def test_profiles() -> None:
    """The stacks of all tasks, and the flags that can be set."""
    assert b"goroutine" in _get("/debug/pprof/")[1]
    assert b"test_profiles" in _get("/debug/pprof/goroutine")[1]
    assert b">v<" in _get("/debug/flags")[1]
