"""`make bench`: run every benchmark, print each figure beside its limit, and write bench/RESULTS.md.

python -m bench [NAME …]     the benchmarks named, or all; the others' sections of the results stay as they are
"""

import importlib
import os
import pkgutil
import platform
import sys
import traceback
from pathlib import Path

import bench
from bench.figures import Figure

RESULTS = Path(__file__).parent / "RESULTS.md"


def names() -> list[str]:
    """Modules of this package that declare MEASURE."""
    listed = sorted(module.name for module in pkgutil.iter_modules(bench.__path__))
    return [name for name in listed if hasattr(importlib.import_module(f"bench.{name}"), "MEASURE")]


def table(title: str, figures: list[Figure]) -> str:
    """A section of the results in Markdown."""
    rows = "\n".join(f"| {' | '.join(figure.row())} |" for figure in figures)
    return f"## {title}\n\n| figure | measured | limit | |\n|---|---|---|---|\n{rows}\n"


def main(wanted: list[str]) -> int:
    """Run them one after the other; 1 if one could not be run."""
    known = [name for name in names() if name != "__main__"]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"error: no benchmark {', '.join(unknown)}\nremedy: one of {', '.join(known)}", file=sys.stderr)
        return 2
    failed = False
    sections = _sections(RESULTS.read_text()) if wanted and RESULTS.exists() else {}
    for name in wanted or known:
        module = importlib.import_module(f"bench.{name}")
        try:
            figures: list[Figure] = module.MEASURE()
        except Exception:
            # One benchmark that lacks its package must not hide the others' figures.
            traceback.print_exc()
            failed = True
            continue
        title = f"{name}: {(module.__doc__ or name).splitlines()[0].rstrip('.')}"
        sections[title] = table(title, figures)
        print(sections[title])
        # After each, so that what has been measured is there when a later one is broken off.
        RESULTS.write_text("\n".join([_head(), *(sections[title] for title in sorted(sections))]))
    return 1 if failed else 0


def _sections(text: str) -> dict[str, str]:
    """The sections of the results by title."""
    found = (f"## {part}".rstrip() + "\n" for part in text.split("\n## ")[1:])
    return {part.splitlines()[0].removeprefix("## "): part for part in found}


def _head() -> str:
    return (
        "# Results of `make bench`\n\n"
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}. "
        "Absolute figures vary with the machine; ratios are of two things measured in the same run. "
        "`python -m bench NAME` measures one section anew.\n"
    )


if __name__ == "__main__":
    # The package's own name would else be a second copy of the module.
    sys.modules.setdefault("bench.__main__", sys.modules["__main__"])
    sys.exit(main(sys.argv[1:]))
