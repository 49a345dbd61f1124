"""What `up` configures: a new cluster shows strangers nothing, and its store no Secret."""

from pathlib import Path
from typing import Any

from pynetes import apis
from pynetes.apiserver import app
from pynetes.apiserver.config import Config
from pynetes.cluster import hardening
from pynetes.cluster.config import Cluster
from pynetes.component import config
from pynetes.component.clock import SystemClock
from pynetes.storage.encryption.backend import EncryptedBackend
from pynetes.storage.encryption.config import load
from pynetes.storage.memory import MemoryBackend
from tests.apiserver.harness import API


def cluster(tmp_path: Path) -> Cluster:
    made = Cluster(data_dir=str(tmp_path / "state"))
    hardening.write(made)
    return made


def test_files_are_the_owners_alone_and_stay(tmp_path: Path) -> None:
    """Keys readable by root only; a second `up` keeps them, else nothing encrypted could be read again."""
    made = cluster(tmp_path)
    home = made.state / "apiserver"
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    assert set(before) == {"authentication.yaml", "encryption.yaml", "audit.yaml"}
    assert home.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in home.iterdir())
    hardening.write(made)
    assert before == {path.name: path.read_bytes() for path in home.iterdir()}


async def test_the_api_server_runs_with_these_flags(tmp_path: Path) -> None:
    """Strangers get health and 401; a Secret is in the store in no readable form; other kinds are."""
    made = cluster(tmp_path)
    (tmp_path / "tokens").write_text("t0ken,root,1,system:masters\n")
    argv = [*hardening.flags(made), "--authorization-mode=Node,RBAC", f"--token-auth-file={tmp_path / 'tokens'}"]
    given = config.parse(Config, argv, prog="test", description="")
    inner = MemoryBackend()
    backend = EncryptedBackend(inner, load(given.encryption_provider_config, apis.load()))
    root: dict[str, Any] = {"authorization": "Bearer t0ken"}
    async with app.running(app.build(given, backend, SystemClock()), listen=False) as server:
        api = API(server)
        for path in hardening.OPEN:
            assert (await api.get(path)).status == 200
        for path in ("/api", "/apis", "/openapi/v3", "/metrics", "/api/v1/namespaces/kube-public/configmaps"):
            assert (await api.get(path)).status == 401
        secret = {"metadata": {"name": "db"}, "stringData": {"password": "hunter2"}}
        assert (await api.ask("POST", "/api/v1/namespaces/default/secrets", secret, **root)).status == 201
        answer = await api.get("/api/v1/namespaces/default/secrets/db", **root)
        assert answer.body["data"] == {"password": "aHVudGVyMg=="}
    record = (made.logs / "audit" / "audit.log").read_text()
    assert '"resource":"secrets"' in record and '"username":"root"' in record
    assert "aHVudGVyMg" not in record and "hunter2" not in record
    page = await inner.list("/registry/")
    stored = {item.key: item.value for item in page.items}
    assert stored["/registry/secrets/default/db"].startswith(b"k8s:enc:aesgcm:v1:key1:")
    assert not any(b"aHVudGVyMg" in value or b"hunter2" in value for value in stored.values())
    assert stored["/registry/namespaces/default"].startswith(b"{")
