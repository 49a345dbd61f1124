"""A containerd of its own for each node: its configuration, its command line, and what this machine allows it.

Every node has its own root, state, socket and CNI configuration, so that a containerd of the machine is left alone and
several nodes can share one machine, each inside its network namespace. Written for containerd 1.6 and later (config
version 2). What a machine withholds is found out by trying, since capabilities and modules only hint at it:
- Lowering oom_score_adj, which needs CAP_SYS_RESOURCE: without `restrict_oom_score_adj` no sandbox would start.
- Mounting overlayfs below the root: without it the native snapshotter copies files instead.
- AppArmor: a profile that cannot be loaded fails every container.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAUSE_IMAGE = "registry.k8s.io/pause:3.10"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What containers may use here."""

    #: Whether a process may make itself less likely to be killed when memory runs out.
    lowers_oom_score: bool
    overlayfs: bool
    apparmor: bool


@dataclass(frozen=True, kw_only=True)
class Containerd:
    """One node's containerd. All state lives below root, which survives a reboot, and state, which need not."""

    root: Path
    state: Path
    cni_conf_dir: Path
    cni_bin_dir: Path = Path("/usr/lib/cni")
    sandbox_image: str = PAUSE_IMAGE
    binary: str = "containerd"

    @property
    def socket(self) -> Path:
        """The gRPC socket, which serves CRI too."""
        return self.state / "containerd.sock"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.root / "config.toml"

    @property
    def endpoint(self) -> str:
        """For the kubelet's --container-runtime-endpoint."""
        return f"unix://{self.socket}"

    def command(self) -> list[str]:
        """The command line. Killing containerd leaves containers running: their shims are not its children."""
        return [shutil.which(self.binary) or self.binary, "--config", str(self.config)]

    def import_command(self, archive: Path, *, unpack: bool = False) -> list[str]:
        """Imports an image archive where CRI finds it; it is unpacked now, or when a container first needs it."""
        address = ["--address", str(self.socket), "--namespace", "k8s.io"]
        return ["ctr", *address, "images", "import", *([] if unpack else ["--no-unpack"]), str(archive)]

    def write(self, machine: Machine | None = None) -> None:
        """Make the folders and write the configuration for this machine (or the one described)."""
        for folder in (self.root, self.state, self.cni_conf_dir, self.root / "certs.d"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        self.config.write_text(self.render(machine or probe(self.root)))

    def render(self, machine: Machine) -> str:
        """The configuration as TOML."""
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        tables: dict[str, dict[str, object]] = {
            "": {
                "version": 2,
                "root": str(self.root / "data"),
                "state": str(self.state / "state"),
                "disabled_plugins": [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "zfs")]
                + ["io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"],
            },
            "grpc": {"address": str(self.socket)},
            cri: {
                "sandbox_image": self.sandbox_image,
                "restrict_oom_score_adj": not machine.lowers_oom_score,
                "disable_apparmor": not machine.apparmor,
                "tolerate_missing_hugetlb_controller": True,
                "disable_hugetlb_controller": True,
                # Streaming URLs are dialled by the kubelet beside it, in the same network namespace.
                "stream_server_address": "127.0.0.1",
                "stream_server_port": "0",
                "enable_unprivileged_ports": True,
                "enable_unprivileged_icmp": True,
            },
            f"{cri}.cni": {"bin_dir": str(self.cni_bin_dir), "conf_dir": str(self.cni_conf_dir), "max_conf_num": 1},
            f"{cri}.registry": {"config_path": str(self.root / "certs.d")},
            f"{cri}.containerd": {
                "snapshotter": "overlayfs" if machine.overlayfs else "native",
                "default_runtime_name": "runc",
            },
            f"{cri}.containerd.runtimes.runc": {"runtime_type": "io.containerd.runc.v2"},
            f"{cri}.containerd.runtimes.runc.options": {
                "SystemdCgroup": False,
                # runc's own state would else mix with that of every other containerd of the machine.
                "Root": str(self.state / "runc"),
            },
        }
        return "\n".join(_table(name, values) for name, values in tables.items())


def probe(folder: Path) -> Machine:
    """Find out what works, by trying it; overlayfs is tried below folder, since it depends on the file system there."""
    lowers = _succeeds(["sh", "-c", "echo -999 2>/dev/null >/proc/self/oom_score_adj"])
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    apparmor = enabled.exists() and enabled.read_text().startswith("Y") and shutil.which("apparmor_parser") is not None
    return Machine(lowers_oom_score=lowers, overlayfs=_mounts_overlay(folder), apparmor=apparmor)


def _mounts_overlay(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="probe-") as scratch:
        parts = {name: Path(scratch, name) for name in ("lower", "upper", "work", "merged")}
        for part in parts.values():
            part.mkdir()
        options = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}"
        mounted = _succeeds(["mount", "-t", "overlay", "overlay", "-o", options, str(parts["merged"])])
        if mounted:
            _succeeds(["umount", str(parts["merged"])])
    return mounted


def _succeeds(argv: Sequence[str]) -> bool:
    """Run a short command, its output dropped."""
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    try:
        pid = os.posix_spawnp(argv[0], list(argv), os.environ, file_actions=null)
    except OSError:
        return False
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _table(name: str, values: dict[str, object]) -> str:
    """One TOML table; JSON's strings, numbers, booleans and lists of strings are TOML's too."""
    lines = [f"[{name}]"] if name else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
