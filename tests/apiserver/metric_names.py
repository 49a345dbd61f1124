"""docs/metrics.md as a test reads it: which names are promised, and which are said not to be there."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
_BLOCK = re.compile(r"```text\n(.*?)```", re.S)


def promised(component: str) -> set[str]:
    """The names of the first list below a component's heading: what is there wherever the component runs."""
    _, _, rest = PAGE.read_text().partition(f"\n### {component}\n")
    found = _BLOCK.search(rest)
    assert found, f"docs/metrics.md has no list for {component}"
    return set(found[1].split())


def absent() -> set[str]:
    """Names of the API server's that are not served; those with * are prefixes or middles, and left out."""
    _, _, rest = PAGE.read_text().partition("\n## Not served\n")
    table, _, _ = rest.partition("\nThe other components")
    return {name for name in re.findall(r"`([a-z0-9_*]+)`", table) if "*" not in name and "_" in name}


def served(exposition: str) -> set[str]:
    """The families of a page of metrics."""
    return {line.split()[2] for line in exposition.splitlines() if line.startswith("# TYPE ")}
