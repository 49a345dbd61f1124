"""Every requirement in pyproject.toml must be pinned to one version, tools included."""

import sys
import tomllib
from pathlib import Path


def main() -> int:
    """Print what is not pinned."""
    project = tomllib.loads(Path("pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    listed = [
        *project["project"]["dependencies"],
        *(requirement for extra in extras for requirement in extra),
        *project["build-system"]["requires"],
    ]
    loose = [requirement for requirement in listed if "==" not in requirement]
    for requirement in loose:
        print(f"pyproject.toml: {requirement} is not pinned")
    print(f"requirements: {len(listed)}, all pinned" if not loose else f"{len(loose)} not pinned")
    return 1 if loose else 0


if __name__ == "__main__":
    sys.exit(main())
