"""The running Python as files of an image: interpreter, standard library, the packages Pynetes needs, shared libraries.

A virtual environment, Debian's Python and one built by hand all come out the same: /usr/bin/python3, its library below
/usr/lib, the packages in /usr/lib/pynetes.
"""

import compileall
import contextlib
import importlib.metadata
import importlib.util
import py_compile
import re
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pynetes
from pynetes.cluster.images import libraries
from pynetes.cluster.images.archive import Entry

PACKAGES = "usr/lib/pynetes"
#: Parts of the standard library that no component imports.
LEFT_OUT = {
    "test",
    "idlelib",
    "ensurepip",
    "tkinter",
    "lib2to3",
    "turtledemo",
    "turtle.py",
    "pydoc.py",
    "doctest.py",
    "wsgiref",
    "venv",
    "dbm",
    "sqlite3",
    "msilib",
    "distutils",
    "curses",
    "site-packages",
    "dist-packages",
    "pydoc_data",
}
LEFT_OUT_FILES = re.compile(r"_tkinter|_curses|_test|_ctypes_test|_xx|xxlimited|readline|nis\.|ossaudiodev")
#: Packages' own tests and lists, and what they were built from.
LEFT_OUT_OF_PACKAGES = re.compile(r"(^|/)(tests?|testing|__pycache__)/|dist-info/RECORD$|\.(pyx|pxd|pxi|pyi|c|h)$")
#: Packages that no component in a pod imports: they serve commands, bring-up, API server, scheduler or kubelet.
#: Thousands of small files less are seconds less until a node has unpacked the image.
OUTSIDE_PODS = {
    "cel-expr-python",
    "grpcio",
    "hpack",
    "jsonschema",
    "kubernetes-validate",
    "numpy",
    "protobuf",
    "pynacl",
    "pyroute2",
    "rich",
    "setuptools",
}
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def base_entries() -> list[Entry]:
    """Everything but Pynetes' own code."""
    files = [*_interpreter(), *_standard_library(), *_files(_distributions(["pynetes"]))]
    shared = libraries.of([entry.source for entry in files if entry.source and _may_be_binary(entry)])
    return [*libraries.stripped([*files, *shared]), *_skeleton()]


def extra_entries(*packages: str) -> list[Entry]:
    """Packages that most components in pods do without, and what those need, as one more layer on the base."""
    there = {found.name for found in _distributions(["pynetes"])}
    files = list(_files(found for found in _distributions(packages) if found.name not in there))
    shared = libraries.of([entry.source for entry in files if entry.source and _may_be_binary(entry)])
    return list(libraries.stripped([*files, *shared]))


def own_entries() -> Iterator[Entry]:
    """Pynetes' code, as this process runs it."""
    root = Path(pynetes.__file__).parent
    # Containers have read-only root file systems: what is not compiled here would be at every start.
    compileall.compile_dir(root, quiet=2)
    yield from _tree(root, f"{PACKAGES}/pynetes", skip=lambda relative: "/testing/" in f"/{relative}")


def fingerprint(*packages: str) -> str:
    """Changes whenever base_entries (or extra_entries of these) does: the interpreter and the pinned requirements."""
    needed = sorted(f"{found.name}=={found.version}" for found in _distributions(["pynetes", *packages]))
    return f"{sys.version} {Path(_base()).stat().st_mtime} {' '.join(needed)}"


def _may_be_binary(entry: Entry) -> bool:
    """Thousands of source files need not be opened to see that they are none."""
    return ".so" in entry.path or entry.path.endswith("bin/python3")


def _base() -> str:
    base = getattr(sys, "_base_executable", sys.executable) or sys.executable
    return str(Path(base).resolve())


def _interpreter() -> Iterator[Entry]:
    yield Entry("usr/bin/python3", source=Path(_base()))
    yield Entry("usr/bin/pynetes", data=b'#!/bin/sh\nexec python3 -m pynetes.cmd.main "$@"\n')


def _standard_library() -> Iterator[Entry]:
    for name in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
        root = Path(name)
        base = Path(sys.base_prefix) / "lib" / f"python{VERSION}"
        files = _tree(base if base.exists() else root, f"usr/lib/python{VERSION}", skip=_unneeded)
        yield from map(_module, files)


def _unneeded(relative: Path) -> bool:
    first, last = relative.parts[0], relative.name
    parts = {"test", "tests", "__pycache__"} & set(relative.parts)
    return bool(parts) or first in LEFT_OUT or first.startswith("config-") or bool(LEFT_OUT_FILES.match(last))


def _distributions(packages: Sequence[str]) -> Iterator[importlib.metadata.Distribution]:
    """Packages and their requirements, without the optional ones and those that only serve outside pods."""
    wanted, seen = [*packages], set()
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in seen or (name in OUTSIDE_PODS and name not in packages):
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if name != "pynetes":
            yield found
        for requirement in found.requires or ():
            text, _, marker = requirement.partition(";")
            if "extra" not in marker:
                wanted.append(re.split(r"[\s<>=!~\[(]", text.strip())[0])


def _files(distributions: Iterable[importlib.metadata.Distribution]) -> Iterator[Entry]:
    for found in distributions:
        for file in found.files or ():
            relative, source = str(file), Path(str(file.locate()))
            if not relative.startswith("..") and not LEFT_OUT_OF_PACKAGES.search(relative) and source.is_file():
                yield _module(Entry(f"{PACKAGES}/{relative}", source=source))


def _module(entry: Entry) -> Entry:
    """A file of others as it is packed: of a module its compiled form alone, in the place of its source.

    Half the files and half the bytes for each node to unpack; Python imports such modules as it does others."""
    source = entry.source
    if source is None or source.suffix != ".py":
        return entry
    compiled = Path(importlib.util.cache_from_source(str(source)))
    if compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime:
        return Entry(f"{entry.path}c", source=compiled)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(py_compile.PyCompileError):
        made = py_compile.compile(str(source), cfile=f"{folder}/made.pyc", doraise=True)
        return Entry(f"{entry.path}c", data=Path(str(made)).read_bytes(), mode=0o644)
    return entry  # a template, or for another version of Python


def _skeleton() -> Iterator[Entry]:
    yield Entry("tmp", mode=0o1777)
    yield Entry(
        "etc/passwd", data=b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", mode=0o644
    )
    yield Entry("etc/group", data=b"root:x:0:\nnogroup:x:65534:\n", mode=0o644)
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates.exists():
        yield Entry(str(certificates), source=certificates)


def _tree(root: Path, target: str, *, skip: Callable[[Path], bool]) -> Iterator[Entry]:
    for source in root.rglob("*"):
        relative = source.relative_to(root)
        if source.is_file() and not skip(relative):
            yield Entry(f"{target}/{relative}", source=source)
