"""What goes into each image that `up` packs: the table RECIPES at the end names them all.

Every part of an image becomes a layer, named by a fingerprint of what it is made from; images that share parts share
layers, so a node holds Python once, whatever runs on it.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pynetes
from pynetes.cluster import containerd
from pynetes.cluster.errors import ClusterError
from pynetes.cluster.images import debian, interpreter
from pynetes.cluster.images.archive import Entry

#: The sandbox image that the container runtime is configured with.
PAUSE = containerd.PAUSE_IMAGE
BUSYBOX = "pynetes.io/busybox:1.35"
PYNETES = f"pynetes.io/pynetes:{pynetes.__version__}"
#: With grpcio, for what speaks to the kubelet by gRPC: storage drivers, device plugins.
PYNETES_GRPC = f"pynetes.io/pynetes-grpc:{pynetes.__version__}"
#: With grpcio and what makes and repairs filesystems: the driver of volumes on the machine's disk.
PYNETES_STORAGE = f"pynetes.io/pynetes-storage:{pynetes.__version__}"
STORAGE_PROGRAMS = ("mkfs.ext4", "mkfs.ext3", "mkfs.ext2", "e2fsck", "resize2fs")
#: With Debian's nginx, which the ingress controller runs and reloads.
PYNETES_NGINX = f"pynetes.io/pynetes-nginx:{pynetes.__version__}"
PROMETHEUS = "pynetes.io/prometheus:debian"
#: What every cluster needs before its first pod.
ESSENTIAL = (PAUSE, BUSYBOX, PYNETES)
ENV = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
PYTHON_ENV = (*ENV, "PYTHONHOME=/usr", f"PYTHONPATH=/{interpreter.PACKAGES}", "LD_LIBRARY_PATH=/usr/lib")
GRPC = ("grpcio", "protobuf")
#: The Lua modules: tables are JSON, and balancing and certificates are lua-resty-core's.
NGINX_PACKAGES = (
    "nginx",
    "nginx-common",
    "libnginx-mod-http-lua",
    "libnginx-mod-http-ndk",
    "lua-resty-core",
    "lua-resty-lrucache",
    "lua-cjson",
)
PROMETHEUS_PACKAGES = ("prometheus",)


class Part(NamedTuple):
    """A layer: its name, which changes whenever its files do, and the files, listed only when it must be packed."""

    name: str
    entries: Callable[[], Iterable[Entry]]


class Recipe(NamedTuple):
    """An image: its parts and how it runs."""

    parts: tuple[Part, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ENV


def stamp(paths: Iterable[Path]) -> str:
    """Changes when one of the files does."""
    known = hashlib.sha256()
    for path in sorted(paths):
        status = path.stat()
        known.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return known.hexdigest()[:12]


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


def _pause_image() -> Recipe:
    part = Part(f"sandbox-{stamp([busybox_binary()])}", pause)
    return Recipe((part,), entrypoint=("/bin/busybox", "sleep", "2147483647"))


def _busybox_image() -> Recipe:
    part = Part(f"busybox-{stamp([busybox_binary(), *Path('/lib').glob('*/libc.so.6')])}", busybox)
    return Recipe((part,), command=("sh",))


def _python_parts() -> tuple[Part, ...]:
    base = hashlib.sha256(interpreter.fingerprint().encode()).hexdigest()[:12] + stamp([busybox_binary()])
    own = stamp(path for path in Path(pynetes.__file__).parent.rglob("*.*") if path.suffix != ".pyc")
    return Part(f"python-{base}", pynetes_base), Part(f"pynetes-{own}", interpreter.own_entries)


def _pynetes_image(*more: Part) -> Recipe:
    return Recipe((*_python_parts(), *more), entrypoint=("pynetes",), env=PYTHON_ENV)


def _grpc_part() -> Part:
    # What the base has is left out of this layer, so a change of the base is one of the layer.
    made_from = interpreter.fingerprint() + interpreter.fingerprint(*GRPC)
    name = f"grpc-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}"
    return Part(name, lambda: interpreter.extra_entries(*GRPC))


def _pynetes_grpc_image() -> Recipe:
    return _pynetes_image(_grpc_part())


def _pynetes_storage_image() -> Recipe:
    programs = Part(f"e2fsprogs-{debian.fingerprint('e2fsprogs')}", lambda: debian.program_entries(*STORAGE_PROGRAMS))
    return _pynetes_image(_grpc_part(), programs)


def _pynetes_nginx_image() -> Recipe:
    def files() -> list[Entry]:
        return [*debian.package_entries(*NGINX_PACKAGES), *debian.accounts([("www-data", 33)])]

    return _pynetes_image(Part(f"nginx-{debian.fingerprint(*NGINX_PACKAGES)}", files))


def _prometheus_image() -> Recipe:
    def files() -> list[Entry]:
        return [*debian.package_entries(*PROMETHEUS_PACKAGES), *debian.accounts()]

    return Recipe((Part(f"prometheus-{debian.fingerprint(*PROMETHEUS_PACKAGES)}", files),), entrypoint=("prometheus",))


#: Image name → its recipe, looked at only when the image is wanted: its packages are installed by then.
RECIPES: Mapping[str, Callable[[], Recipe]] = {
    PAUSE: _pause_image,
    BUSYBOX: _busybox_image,
    PYNETES: _pynetes_image,
    PYNETES_GRPC: _pynetes_grpc_image,
    PYNETES_STORAGE: _pynetes_storage_image,
    PYNETES_NGINX: _pynetes_nginx_image,
    PROMETHEUS: _prometheus_image,
}
