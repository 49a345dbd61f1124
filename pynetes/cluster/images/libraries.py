"""The shared libraries that programs need, as the dynamic linker of this machine finds them."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from pynetes.cluster.images.archive import Entry

MAGIC = b"\x7fELF"


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
