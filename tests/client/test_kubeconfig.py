"""Kubeconfigs and the pod's own identity, and errors that name what is missing."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from pynetes.client import kubeconfig
from pynetes.client.kubeconfig import KubeconfigError


def document(user: dict[str, Any], **cluster: Any) -> dict[str, Any]:
    return {
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "current-context": "x",
    }


def write(folder: Path, content: Any) -> Path:
    path = folder / "config"
    path.write_text(yaml.safe_dump(content))
    return path


def test_embedded_data(tmp_path: Path) -> None:
    """Certificates in the file are decoded; the URL loses its last slash."""
    data = {name: base64.b64encode(name.encode()).decode() for name in ("ca", "crt", "key")}
    user = {"client-certificate-data": data["crt"], "client-key-data": data["key"]}
    found = kubeconfig.load(write(tmp_path, document(user, **{"certificate-authority-data": data["ca"]})))
    assert (found.server, found.ca, found.certificate, found.key) == ("https://10.0.0.1:6443", b"ca", b"crt", b"key")
    assert found.namespace == "team"


def test_files_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    """As kubectl reads them; and a token file is read anew each time."""
    found = kubeconfig.load(write(tmp_path, document({"tokenFile": "token"}, **{"certificate-authority": "ca.crt"})))
    assert found.ca_file == str(tmp_path / "ca.crt")
    for token in ("one", "two"):
        (tmp_path / "token").write_text(f"{token}\n")
        assert found.bearer() == token


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"current-context": ""}, "no current-context"),
        ({"current-context": "y"}, "no context 'y'"),
        ({"clusters": []}, "no cluster 'c'"),
        ({"users": []}, "no user 'u'"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    """The error names the file and the entry."""
    with pytest.raises(KubeconfigError, match=says) as error:
        kubeconfig.load(write(tmp_path, document({}) | change))
    assert str(tmp_path) in str(error.value)


def test_no_such_file(tmp_path: Path) -> None:
    """A path that does not exist is said so."""
    with pytest.raises(KubeconfigError, match="No such file"):
        kubeconfig.load(tmp_path / "none")


def test_in_a_pod(tmp_path: Path) -> None:
    """The ServiceAccount's files and the environment that the kubelet sets."""
    (tmp_path / "namespace").write_text("shop")
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = kubeconfig.in_cluster(tmp_path, environment)
    assert (found.server, found.namespace) == ("https://[fd00::1]:443", "shop")
    with pytest.raises(KubeconfigError, match="not in a pod"):
        kubeconfig.in_cluster(tmp_path, {})
