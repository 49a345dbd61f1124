"""docs/metrics.md as a test reads it: which names are promised, and which are said not to be there."""

import re
from pathlib import Path

from tests.stable_metrics import STABLE

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


def broken(component: str, exposition: str) -> list[str]:
    """What of a page is not of the type, or does not have the labels, that upstream promises."""
    types = {words[2]: words[3] for line in exposition.splitlines() if (words := line.split())[:2] == ["#", "TYPE"]}
    found = []
    for name, wanted in STABLE.items():
        if wanted.page != component or name not in types:
            continue
        if types[name] != wanted.type:
            found.append(f"{name} is a {types[name]}")
        for labels in set(re.findall(rf"^{name}(?:_bucket|_count|_sum)?(?:{{(.*)}})? ", exposition, re.M)):
            names = frozenset(re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', labels)) - {"le"}
            if names != wanted.labels:
                found.append(f"{name} has {sorted(names)}")
    return sorted(set(found))
