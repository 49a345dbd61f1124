"""The shared libraries that programs need, as the dynamic linker of this machine finds them."""

import dataclasses
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from pynetes.cluster.images.archive import Entry

MAGIC = b"\x7fELF"
#: Below this a file is not worth a process that strips it, in bytes.
LARGE = 1 << 20


def of(files: Iterable[Path]) -> Iterator[Entry]:
    """What the ELF files among these would load, at the same places in the image."""
    binaries = [path for path in files if _is_binary(path)]
    if not binaries:
        return
    listed = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    inside = {str(path.resolve()) for path in binaries}
    for path in sorted(set(re.findall(r"(?:=> )?(/\S+) \(0x", listed))):
        source = Path(path)
        if str(source.resolve()) in inside or "site-packages" in path or "dist-packages" in path:
            continue
        # Libraries beside an interpreter of its own prefix move to where the linker of the image looks.
        standard = path.startswith(("/lib", "/usr/lib"))
        yield Entry(path if standard else f"usr/lib/{source.name}", source=source.resolve())


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def stripped(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The same, large binaries without their symbols, where binutils are installed.

    Wheels and interpreters built by hand come with them: 23 MB of libpython, 14 MB of uvloop, of which 6 and 2 are
    code. Every node unpacks the rest for nothing."""
    strip = shutil.which("strip")
    for entry in entries:
        source = entry.source
        if not strip or source is None or source.stat().st_size < LARGE or not _is_binary(source):
            yield entry
            continue
        with tempfile.NamedTemporaryFile() as target:
            run = subprocess.run(
                [strip, "--strip-unneeded", "-o", target.name, source], capture_output=True, check=False
            )
            smaller = Path(target.name).read_bytes() if run.returncode == 0 else source.read_bytes()
        yield dataclasses.replace(entry, source=None, data=smaller)
