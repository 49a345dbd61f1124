"""A containerd of the tests' own, with the images that pods of tests run."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pynetes.cluster.containerd import Containerd
from pynetes.cluster.images import recipes
from pynetes.cluster.images.archive import Image, Layer, write_archive, write_layer

SUBNET = "10.249.{}.0/24"


@pytest.fixture(scope="session")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """A running containerd; gone, with everything it ran, when the session ends."""
    label = f"pynetes-kubelet-{os.getpid()}"
    base = Path("/var/lib") / label
    node = Containerd(root=base / "containerd", state=Path("/run") / label, cni_conf_dir=base / "cni")
    node.write()
    bridge = f"pyk{os.getpid() % 10**7}"
    (base / "cni" / "10.conflist").write_text(json.dumps(_network(bridge, base)))
    with (tmp_path_factory.mktemp("log") / "containerd.log").open("w") as log:
        process = subprocess.Popen(node.command(), stdout=log, stderr=log)
    try:
        _await(node)
        for archive in _images(tmp_path_factory.mktemp("images")).values():
            subprocess.run(node.import_command(archive), check=True, capture_output=True, timeout=60)
        yield node
    finally:
        _stop(node, process)
        subprocess.run(["ip", "link", "delete", bridge], capture_output=True, check=False)
        for group in sorted(Path("/sys/fs/cgroup").glob("*/pynetes-kubelet-test/**/"), reverse=True):
            group.rmdir()
        for folder in (base, node.state):
            shutil.rmtree(folder, ignore_errors=True)


def _network(bridge: str, base: Path) -> dict[str, object]:
    ranges = [[{"subnet": SUBNET.format(os.getpid() % 250)}]]
    ipam = {"type": "host-local", "dataDir": str(base / "ipam"), "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": "bridge", "bridge": bridge, "isGateway": True, "ipMasq": False, "ipam": ipam}
    return {"cniVersion": "0.4.0", "name": "test", "plugins": [plugin]}


def _images(folder: Path) -> dict[str, Path]:
    made: dict[str, Path] = {}
    for name, entries, entrypoint in (
        (recipes.PAUSE, recipes.pause(), ("/bin/busybox", "sleep", "2147483647")),
        (recipes.BUSYBOX, recipes.busybox(), ()),
    ):
        layer, archive = Layer(folder / f"{len(made)}.layer"), folder / f"{len(made)}.tar"
        write_layer(entries, layer)
        write_archive(Image(name=name, layers=[layer], entrypoint=entrypoint), archive)
        made[name] = archive
    return made


def _await(node: Containerd) -> None:
    for _ in range(200):
        done = subprocess.run(["ctr", "--address", str(node.socket), "version"], capture_output=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError("containerd did not start")


def _stop(node: Containerd, process: "subprocess.Popen[bytes]") -> None:
    ctr = ["ctr", "--address", str(node.socket), "--namespace", "k8s.io"]
    listed = subprocess.run([*ctr, "tasks", "ls", "--quiet"], capture_output=True, text=True, check=False)
    for task in listed.stdout.split():
        subprocess.run([*ctr, "tasks", "delete", "--force", task], capture_output=True, check=False)
    for container in subprocess.run(
        [*ctr, "containers", "ls", "--quiet"], capture_output=True, text=True, check=False
    ).stdout.split():
        subprocess.run([*ctr, "containers", "delete", container], capture_output=True, check=False)
    process.terminate()
    process.wait(20)
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            # Shims outlive their containerd on purpose.
            if str(node.socket).encode() in command.read_bytes():
                os.kill(int(command.parent.name), signal.SIGKILL)
    with Path("/proc/self/mountinfo").open() as mounts:
        places = [line.split(" ")[4] for line in mounts]
    for place in reversed(places):
        if place.startswith((f"{node.root}/", f"{node.state}/")):
            subprocess.run(["umount", "--lazy", place], capture_output=True, check=False)
