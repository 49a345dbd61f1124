"""`pynetes paths`: who talks to whom in this cluster, how it is secured, and whether it works.

pynetes paths                 one row per path: requests, last seen, latencies, errors, identity
pynetes paths verify [N …]    exercise each path for real; PASS or FAIL with the evidence; 1 if any fails
pynetes paths watch           the live stream, one line per interaction
pynetes paths trace OBJECT    what one object set in motion, from its write on
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Sequence

import orjson

from pynetes.cluster import tools
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.cluster.images import recipes
from pynetes.cmd import common
from pynetes.component import logs
from pynetes.component.tracing import Interaction
from pynetes.paths import check, checks, observed, registry
from pynetes.paths.check import Outcome
from pynetes.paths.scene import Site, scene


def main(argv: Sequence[str]) -> int:
    """Parse the flags and run one of the four."""
    parser = common.parser("paths", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", nargs="?", default="show", choices=("show", "verify", "watch", "trace"))
    parser.add_argument("names", nargs="*", help="paths to verify (numbers, or mtls), or the object to trace")
    parser.add_argument("--json", action="store_true", help="for machines")
    given = parser.parse_intermixed_args(argv)
    actions = {"show": _show, "verify": _verify, "watch": _watch, "trace": _trace}
    return common.run(lambda: actions[given.action](common.cluster_of(given), given.names, as_json=given.json))


async def _show(cluster: Cluster, names: list[str], *, as_json: bool) -> int:
    documents = await observed.snapshots(cluster.paths_dir)
    if not documents:
        readable = all(os.access(socket, os.W_OK) for socket in cluster.paths_dir.glob("*.sock"))
        raise ClusterError(
            f"no component of {cluster.name} {'runs' if readable else 'may be asked'}",
            f"start it with `pynetes up{cluster.flags}`" if readable else "run it as root",
        )
    rows = observed.rows(documents)
    if as_json:
        listed = [path._asdict() | dataclasses.asdict(rows.get(path.number, observed.Row())) for path in registry.PATHS]
        print(orjson.dumps(listed).decode())
        return 0
    titles = ("#", "PATH", "PROTOCOL", "REQUESTS", "LAST", "P50", "P99", "ERRORS", "IDENTITY")
    print(common.columns([titles, *(_row(path, rows.get(path.number)) for path in registry.PATHS)]))
    return 0


def _row(path: registry.Path, row: observed.Row | None) -> tuple[str, ...]:
    ends = (path.label, path.title, path.protocol)
    if row is None or not row.requests:
        return (*ends, "-", "-", "-", "-", "-", path.identity)
    identity = row.identity
    shown = [
        identity.subject,
        f"by {identity.issuer}" * bool(identity.issuer),
        f"until {identity.expires}" * bool(identity.expires),
    ]
    shown.append(f"({identity.rule})" * bool(identity.rule))
    return (
        *ends,
        str(row.requests),
        f"{max(0.0, time.time() - row.last):.0f}s ago",
        _milliseconds(row.quantile(0.5)),
        _milliseconds(row.quantile(0.99)),
        str(row.errors),
        " ".join(part for part in shown if part) or path.identity,
    )


def _milliseconds(seconds: float) -> str:
    return ">10 s" if seconds == float("inf") else f"≤{seconds * 1000:g} ms"


async def _verify(cluster: Cluster, names: list[str], *, as_json: bool) -> int:
    wanted = [_path(name) for name in names] if names else [*registry.PATHS, registry.MTLS]
    async with scene(await _site(cluster)) as stage:
        outcomes = await check.run(stage, checks.load(), wanted)
    if as_json:
        print(orjson.dumps([_document(outcome) for outcome in outcomes], option=orjson.OPT_INDENT_2).decode())
    else:
        for outcome in outcomes:
            # Evidence has words of the cluster's users in it.
            evidence = logs.printable(outcome.evidence)
            print(f"{outcome.verdict:<5}{outcome.path.label:>4}  {outcome.path.title}: {evidence}")
        counted = [sum(outcome.verdict == verdict for outcome in outcomes) for verdict in ("PASS", "FAIL", "-")]
        print(f"\n{counted[0]} passed, {counted[1]} failed, {counted[2]} not there yet")
    return 1 if any(outcome.passed is False for outcome in outcomes) else 0


def _document(outcome: Outcome) -> dict[str, object]:
    return {
        "path": outcome.path.label,
        "title": outcome.path.title,
        "verdict": outcome.verdict,
        "evidence": outcome.evidence,
        "seconds": round(outcome.seconds, 3),
    }


def _path(name: str) -> registry.Path:
    found = registry.find(name)
    if found is None:
        raise ClusterError(f"there is no path {name!r}", "paths are numbered 1 to 29; mtls is the one to etcd")
    return found


async def _site(cluster: Cluster) -> Site:
    return Site(
        state=cluster.state,
        kubeconfig=cluster.admin_conf,
        kubectl=await tools.find("kubectl"),
        paths_dir=cluster.paths_dir,
        etcd=f"https://127.0.0.1:{cluster.etcd_port}",
        dns_service=cluster.dns_service,
        domain=cluster.domain,
        proxy_mode=cluster.proxy_mode,
        shell_image=recipes.BUSYBOX,
        python_image=recipes.PYNETES,
        runtimes={node: cluster.containerd(node).socket for node in cluster.node_names()},
    )


async def _watch(cluster: Cluster, names: list[str], *, as_json: bool) -> int:
    await observed.follow(cluster.paths_dir, lambda item: print(_line(item, as_json=as_json), flush=True))
    return 0


async def _trace(cluster: Cluster, names: list[str], *, as_json: bool) -> int:
    if not names:
        raise ClusterError("trace needs an object", "for example: pynetes paths trace pod/web")
    found = observed.interactions(await observed.snapshots(cluster.paths_dir))
    told = observed.story(found, " ".join(names))
    if not told:
        raise ClusterError(
            f"no interaction about {' '.join(names)} is remembered",
            "each component keeps its newest 4096; is the name right?",
        )
    for item in told:
        print(_line(item, as_json=as_json))
    return 0


def _line(item: Interaction, *, as_json: bool) -> str:
    if as_json:
        return orjson.dumps(item._asdict()).decode()
    clock = time.strftime("%H:%M:%S", time.localtime(item.at)) + f".{int(item.at % 1 * 1000):03d}"
    about = f" {item.object}" if item.object else ""
    revision = f" @{item.revision}" if item.revision else ""
    cause = f" (because of @{item.cause})" if item.cause else ""
    problem = f" ERROR {item.error}" if item.error else ""
    took = f" {item.seconds * 1000:.1f} ms" if item.seconds else ""
    ends = f"{item.path or '-':>2}  {item.source} → {item.target}"
    return logs.printable(f"{clock}  {ends}: {item.action}{about}{revision}{cause}{took}{problem}")
