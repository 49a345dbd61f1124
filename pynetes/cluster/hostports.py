"""Removes what CNI's portmap plugin leaves of ports of the host (hostPort).

portmap removes the rules of a pod with the pod, where it is called for it, and never the chains that all pods share.
Those of pods are known by the network's name in their comments. The shared ones go once no pod uses them, whosever it
would be: another cluster's portmap makes them anew when it needs them.
"""

import json
import shlex

from pynetes.component.command import CommandError, run

#: What the chains begin with that all pods share, and the one with a rule for each pod.
SHARED, OF_PODS = "CNI-HOSTPORT-", "CNI-HOSTPORT-DNAT"
#: The program whose output and input rules are, by nftables' word for the family.
FAMILIES = {"ip": "iptables", "ip6": "ip6tables"}


async def remove(label: str, own: str) -> list[str]:
    """Remove the chains of a network's pods, the chain `own`, and the shared ones; the first two are returned."""
    done = []
    for family, program in FAMILIES.items():
        removed = await _remove(program, _of(label, own, await _rules(program)))
        done += [f"chain {chain}" for chain in sorted(removed)]
        await _remove(program, unused(await _rules(program)))
        await _drop_empty_tables(family)
    return done


async def _rules(program: str) -> list[str]:
    # Not `iptables --list-rules`, which makes the table that it lists.
    try:
        return (await run([f"{program}-save", "-t", "nat"], check=False)).out.splitlines()
    except CommandError:
        return []


def _of(label: str, own: str, rules: list[str]) -> set[str]:
    marked = [words for line in rules if (words := _words(line)) and label in " ".join(words).replace('"', " ").split()]
    chains = {words[words.index("-j") + 1] for words in marked if "-j" in words}
    return {chain for chain in chains if chain == own or (chain.startswith("CNI-") and not chain.startswith(SHARED))}


def unused(rules: list[str]) -> set[str]:
    """The shared chains, where no pod has a rule in them."""
    if any(words[1] == OF_PODS for line in rules if (words := _words(line))):
        return set()
    return {line[1:].split()[0] for line in rules if line.startswith(f":{SHARED}")}


async def _remove(program: str, chains: set[str]) -> set[str]:
    """In one transaction: the rules that lead to chains, then these."""
    if chains:
        rules = await _rules(program)
        lines = ["*nat", *(f":{chain} - [0:0]" for chain in sorted(chains))]
        lines += [f"-D {line[3:]}" for line in rules if _leads_to(line, chains)]
        lines += [*(f"-X {chain}" for chain in sorted(chains)), "COMMIT", ""]
        await run([f"{program}-restore", "-w", "--noflush"], given="\n".join(lines), check=False)
    return chains


def _leads_to(line: str, chains: set[str]) -> bool:
    words = _words(line)
    return bool(words) and words[1] not in chains and "-j" in words and words[words.index("-j") + 1] in chains


def _words(line: str) -> list[str]:
    """Of a rule; [] of other lines."""
    return shlex.split(line) if line.startswith("-A ") else []


async def _drop_empty_tables(family: str) -> None:
    """Tables that iptables makes by merely being called, once they hold nothing but accepting base chains."""
    for name in ("nat", "filter", "mangle"):
        listed = await run(["nft", "-j", "list", "table", family, name], check=False)
        if listed.code:
            continue
        items = json.loads(listed.out)["nftables"]
        chains = [item["chain"] for item in items if "chain" in item]
        only_chains = all(item.keys() <= {"metainfo", "table", "chain"} for item in items)
        if only_chains and all(chain.get("policy") == "accept" for chain in chains):
            await run(["nft", "delete", "table", family, name], check=False)
