"""Files of Debian packages as entries of an image, so that nginx or Prometheus run in pods with no registry at hand.

The packages are installed on this machine first (their services are held back, pynetes/cluster/packages.py); an image
then gets their files and the shared libraries that the dynamic linker would load for them here.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from pynetes.cluster.errors import ClusterError
from pynetes.cluster.images import libraries
from pynetes.cluster.images.archive import Entry

#: What nothing in a container reads.
LEFT_OUT = (
    "/usr/share/doc/",
    "/usr/share/man/",
    "/usr/share/locale/",
    "/usr/share/lintian/",
    "/usr/share/bug/",
    "/lib/systemd/",
    "/usr/lib/systemd/",
    "/etc/init.d/",
    "/etc/logrotate.d/",
    "/etc/cron",
    "/etc/ufw/",
)
#: Folders of old packages that are links on this machine; as links they would hide an image's folder of that name.
MERGED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")


def package_entries(*packages: str) -> list[Entry]:
    """All files of installed packages, and the shared libraries that their programs and modules load.

    Raises ClusterError for one that is not installed."""
    files = [entry for package in packages for entry in _files(package)]
    return [*files, *libraries.of([entry.source for entry in files if entry.source])]


def program_entries(*programs: str) -> list[Entry]:
    """Single programs, found on PATH, and their shared libraries; each stands at its own path. Raises ClusterError."""
    files = []
    for name in programs:
        found = shutil.which(name)
        if found is None:
            raise ClusterError(f"{name} is not installed", "run `pynetes preflight --install`")
        files.append(Entry(found.lstrip("/"), source=Path(found).resolve()))
    return [*files, *libraries.of([entry.source for entry in files if entry.source])]


def fingerprint(*packages: str) -> str:
    """Changes with the installed versions."""
    return hashlib.sha256("\n".join(map(_version, packages)).encode()).hexdigest()[:12]


def _version(package: str) -> str:
    query = ["dpkg-query", "--show", "--showformat=${Package} ${Version} ${Architecture}", package]
    found = subprocess.run(query, capture_output=True, text=True, check=False)
    if found.returncode:
        raise ClusterError(f"the Debian package {package} is not installed", f"apt-get install {package}")
    return found.stdout


def _files(package: str) -> Iterator[Entry]:
    _version(package)
    listed = subprocess.run(["dpkg-query", "--listfiles", package], capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        path = Path(name)
        if name.startswith(LEFT_OUT) or not name.startswith("/") or name in MERGED:
            continue
        if path.is_symlink():
            yield Entry(name.lstrip("/"), link=str(path.readlink()))
        elif path.is_file():
            yield Entry(name.lstrip("/"), source=path, mode=path.stat().st_mode & 0o755 | 0o444)


def accounts(users: Sequence[tuple[str, int]] = ()) -> list[Entry]:
    """/etc/passwd and /etc/group with root, nobody and the given users (name, id), and a /tmp: what programs expect."""
    people = [("root", 0, "/root"), *((name, number, "/") for name, number in users), ("nobody", 65534, "/")]
    groups = [("root", 0), *users, ("nogroup", 65534)]
    passwd = "".join(f"{name}:x:{number}:{number}:{name}:{home}:/bin/false\n" for name, number, home in people)
    return [
        Entry("tmp", mode=0o1777),
        Entry("etc/passwd", data=passwd.encode(), mode=0o644),
        Entry("etc/group", data="".join(f"{name}:x:{number}:\n" for name, number in groups).encode(), mode=0o644),
    ]
