"""The topology manager: NUMA nodes near to which a container gets its processors and devices. Pure.

Every provider says with hints which sets of nodes could serve a container, and which of them as well as can be. Of the
sets that all agree on the narrowest preferred one wins; the policy says what happens when there is none.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import NamedTuple

NONE, BEST_EFFORT, RESTRICTED, SINGLE = "none", "best-effort", "restricted", "single-numa-node"
POLICIES = (NONE, BEST_EFFORT, RESTRICTED, SINGLE)
#: Above as many nodes the combinations are too many; upstream refuses to start there too.
MOST_NODES = 8

Nodes = frozenset[int]


class Hint(NamedTuple):
    """A set of NUMA nodes that could serve; preferred: no smaller set ever could."""

    nodes: Nodes
    preferred: bool


class Unaligned(Exception):
    """The policy does not let the container start: its resources are not near to each other."""


def hints(wanted: int, free: Sequence[Nodes], every: Sequence[Nodes], nodes: Iterable[int]) -> list[Hint]:
    """Hints for so many units. free and every: per unit that is free, and per unit there is, the nodes it is near to;
    one that is near to none serves everywhere."""
    all_nodes = sorted(nodes)
    least = next((len(some) for some in _sets(all_nodes) if _within(every, some) >= wanted), len(all_nodes))
    return [Hint(some, len(some) == least) for some in _sets(all_nodes) if _within(free, some) >= wanted]


def merged(given: Sequence[Sequence[Hint]], nodes: Iterable[int], policy: str) -> Hint:
    """The best hint that all providers agree on; all nodes, and not preferred, where there is none."""
    worst = Hint(frozenset(nodes), preferred=False)
    if policy == SINGLE:
        given = [[one for one in some if len(one.nodes) == 1 and one.preferred] for some in given]
    best = worst
    for chosen in product(*given):
        common = frozenset.intersection(worst.nodes, *(one.nodes for one in chosen))
        if common:
            found = Hint(common, all(one.preferred for one in chosen))
            if (not found.preferred, len(found.nodes), sorted(found.nodes)) < (
                not best.preferred,
                len(best.nodes),
                sorted(best.nodes),
            ):
                best = found
    return best


def align(given: Sequence[Sequence[Hint]], nodes: Iterable[int], policy: str) -> Nodes:
    """The nodes to take from; none where nobody minds. Raises Unaligned."""
    if policy == NONE or not given:
        return frozenset()
    best = merged(given, nodes, policy)
    if not best.preferred and policy in (RESTRICTED, SINGLE):
        raise Unaligned("Resources cannot be allocated with Topology locality")
    return best.nodes


def _sets(nodes: Sequence[int]) -> Iterable[Nodes]:
    """Every set of nodes, the small ones first."""
    for size in range(1, len(nodes) + 1):
        yield from map(frozenset, combinations(nodes, size))


def _within(units: Iterable[Nodes], some: Nodes) -> int:
    return sum(not unit or bool(unit & some) for unit in units)
