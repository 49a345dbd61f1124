"""What goes into each image that `up` packs."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pynetes
from pynetes.cluster import containerd
from pynetes.cluster.errors import ClusterError
from pynetes.cluster.images import interpreter
from pynetes.cluster.images.archive import Entry

#: The sandbox image that the container runtime is configured with.
PAUSE = containerd.PAUSE_IMAGE
BUSYBOX = "pynetes.io/busybox:1.35"
PYNETES = f"pynetes.io/pynetes:{pynetes.__version__}"


def busybox_binary() -> Path:
    """Debian's static busybox."""
    for found in (Path("/bin/busybox"), Path("/usr/bin/busybox"), Path(shutil.which("busybox") or "/nonexistent")):
        if found.exists():
            return found.resolve()
    raise ClusterError("busybox is not installed", "apt-get install busybox-static")


def pause() -> Iterator[Entry]:
    """A process that does nothing for 68 years: it holds a pod's namespaces."""
    # busybox has no applet called pause, so it is not reached through a link of that name.
    yield Entry("bin/busybox", source=busybox_binary())


def busybox() -> Iterator[Entry]:
    """A small userland: shell, tar, httpd, wget, nslookup and some 270 more."""
    binary = busybox_binary()
    yield Entry("bin/busybox", source=binary)
    applets = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            yield Entry(f"bin/{applet}", link="busybox")
    yield Entry(
        "etc/passwd", data=b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", mode=0o644
    )
    yield Entry("etc/group", data=b"root:x:0:\nnogroup:x:65534:\n", mode=0o644)
    yield Entry("tmp", mode=0o1777)
    yield Entry("root", mode=0o700)
    yield Entry("var/www")
    yield from _name_service()


def _name_service() -> Iterator[Entry]:
    """What a static glibc program still loads when it resolves a name; without it wget and nslookup crash."""
    yield Entry("etc/nsswitch.conf", data=b"hosts: files dns\n", mode=0o644)
    for name in ("libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2", "libc.so.6"):
        for folder in sorted(Path("/lib").glob("*-linux-gnu*")):
            if (folder / name).exists():
                yield Entry(f"lib/{folder.name}/{name}", source=(folder / name).resolve())
    for loader in (*Path("/lib64").glob("ld-linux*"), *Path("/lib").glob("ld-linux*")):
        yield Entry(str(loader), source=loader.resolve())


def pynetes_base() -> list[Entry]:
    """Python with the requirements, and a shell to look around with."""
    shell = (Entry("bin/busybox", source=busybox_binary()), Entry("bin/sh", link="busybox"))
    return [*interpreter.base_entries(), *shell]
