"""The distribution's packages that a cluster needs, and installing those that are missing.

A program found on PATH counts, wherever it came from. Debian starts services when it installs them; here that would
take etcd's port and run a second containerd, so starting is held back while installing.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pynetes.cluster.errors import ClusterError
from pynetes.component import command

#: What must be there (a program or a file) → the Debian package that has it.
NEEDED = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "busybox": "busybox-static",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "mount": "mount",
}
POLICY = Path("/usr/sbin/policy-rc.d")
#: Debian package → the service that it would start at every boot.
SERVICES = {
    "etcd-server": "etcd",
    "containerd": "containerd",
    "haproxy": "haproxy",
    "nginx-light": "nginx",
    "prometheus": "prometheus",
}
#: What is written there; an `up` that was killed meanwhile is recognised by it.
NO_STARTS = "#!/bin/sh\n# pynetes: packages are installed without starting their services\nexit 101\n"


def missing(more: Mapping[str, str] | None = None) -> list[str]:
    """Packages whose program or file is not on this machine: the needed ones, and of add-ons those given."""
    return sorted({package for what, package in {**NEEDED, **(more or {})}.items() if not _present(what)})


def _present(what: str) -> bool:
    return Path(what).exists() if what.startswith("/") else shutil.which(what) is not None


async def install(packages: Sequence[str]) -> None:
    """Install with apt-get. Raises ClusterError with the remedy where that is not possible."""
    if not packages:
        return
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise ClusterError(
            f"these programs are missing and this is no Debian: {names}",
            "install etcd, containerd, runc, the CNI plugins (in /usr/lib/cni), nftables, iptables, conntrack and "
            "busybox (static) with your distribution's package manager",
        )
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with _services_held_back():
        install = [*apt, "install", "--yes", "--no-install-recommends", *packages]
        if (await command.run(install, check=False, env=quiet)).code:
            await command.run([*apt, "update"], env=quiet, check=False)
            result = await command.run(install, check=False, env=quiet)
            if result.code:
                said = (result.err.strip() or result.out.strip()).splitlines()[-1:]
                raise ClusterError(
                    f"apt-get could not install {names}: {' '.join(said)}", f"apt-get update && apt-get install {names}"
                )
    await _disable_services(packages)
    left = missing()
    if left:
        raise ClusterError(f"installed, but still missing: {' '.join(left)}", "is /usr/sbin in PATH?")


@contextlib.contextmanager
def _services_held_back() -> Iterator[None]:
    """Debian's own way to say that installing starts nothing."""
    if not POLICY.parent.is_dir() or (POLICY.exists() and POLICY.read_text(errors="replace") != NO_STARTS):
        yield
        return
    POLICY.write_text(NO_STARTS)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            POLICY.unlink()


async def _disable_services(packages: Sequence[str]) -> None:
    """What we have installed must not start at the next boot either."""
    if not Path("/run/systemd/system").is_dir():
        return
    for package, service in SERVICES.items():
        if package in packages:
            await command.run(["systemctl", "disable", "--quiet", service], check=False)
