"""What the components have seen of each path, read from their sockets and added up.

Every component shows its counters and its newest interactions on a Unix socket (component/serving.py). Reading them
asks nobody else and needs no collector.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from pynetes.component.tracing import BUCKETS, Identity, Interaction
from pynetes.machinery.meta import Object

WITHIN = 3.0
#: What the API server calls itself.
SERVER = "kube-apiserver"


@dataclass
class Row:
    """One path, all components together."""

    requests: int = 0
    errors: int = 0
    last: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * len(BUCKETS))
    identity: Identity = field(default_factory=Identity)

    def quantile(self, share: float) -> float:
        """Upper bound, in seconds, of the bucket that the share of requests falls into; 0 without requests."""
        wanted, seen = share * sum(self.buckets), 0
        for bound, count in zip(BUCKETS, self.buckets, strict=True):
            seen += count
            if count and seen >= wanted:
                return bound
        return 0.0


async def snapshots(folder: Path, *, ring: bool = True) -> list[Object]:
    """What every component in the folder answers; those that are gone are left out. Without ring, counters only.

    Each has the name of its socket as `instance`: kubelets and pods of one kind are told apart by it."""
    sockets = sorted(folder.glob("*.sock"))
    path = "/snapshot" if ring else "/snapshot?ring=0"
    answers = await asyncio.gather(*(_snapshot(socket, path) for socket in sockets))
    return [{**answer, "instance": socket.stem} for socket, answer in zip(sockets, answers, strict=True) if answer]


async def _snapshot(socket: Path, path: str) -> Object:
    try:
        async with asyncio.timeout(WITHIN):
            reader, writer = await _get(socket, path)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body: Object = orjson.loads(await reader.readexactly(int(length.partition(b":")[2])))
            writer.close()
            return body
    except (OSError, TimeoutError, EOFError, ValueError, StopIteration):
        return {}


async def _get(socket: Path, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(socket), limit=1 << 26)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: paths\r\n\r\n".encode())
    return reader, writer


def rows(documents: Iterable[Object]) -> dict[int, Row]:
    """Add the components' counters up, by path number."""
    added: dict[int, Row] = {}
    documents = list(documents)
    told = told_by_dialler(documents)
    for document in documents:
        for number, counters in document["counters"].items():
            row = added.setdefault(int(number), Row())
            if document["component"] == SERVER and int(number) in told:
                row.identity = Identity.of(counters["identity"])
                continue
            row.requests += counters["requests"]
            row.errors += counters["errors"]
            row.buckets = [mine + theirs for mine, theirs in zip(row.buckets, counters["buckets"], strict=True)]
            if counters["last"] >= row.last:
                row.last = counters["last"]
            if counters["identity"]["subject"] and not row.identity.rule:
                row.identity = Identity.of(counters["identity"])
    return added


def told_by_dialler(documents: Iterable[Object]) -> set[int]:
    """Paths that a component other than the API server counts: the API server sees the same requests once more."""
    return {int(number) for item in documents if item["component"] != SERVER for number in item["counters"]}


def interactions(documents: Iterable[Object]) -> list[Interaction]:
    """The newest interactions of all components, in the order of time."""
    documents = list(documents)
    told = told_by_dialler(documents)
    found = [
        Interaction(**item)
        for document in documents
        for item in document["ring"]
        if document["component"] != SERVER or item["path"] not in told
    ]
    return sorted(found, key=lambda item: item.at)


async def follow(folder: Path, shown: Callable[[Interaction], None]) -> None:
    """Show interactions of all components as they happen, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for socket in sorted(folder.glob("*.sock")):
            group.create_task(_follow(socket, shown))


async def _follow(socket: Path, shown: Callable[[Interaction], None]) -> None:
    try:
        async for item in stream(socket):
            item.pop("component", None)
            shown(Interaction(**item))
    except (OSError, EOFError):
        return


async def stream(socket: Path, path: str = "/stream") -> AsyncIterator[Object]:
    """Objects of a stream of lines, which the server sends in chunks. /ticks is what changes each second."""
    reader, writer = await _get(socket, path)
    try:
        await reader.readuntil(b"\r\n\r\n")
        while size := int(await reader.readline() or b"0", 16):
            chunk = await reader.readexactly(size + 2)
            for line in chunk.splitlines():
                if line:
                    yield orjson.loads(line)
    finally:
        writer.close()


#: What a scheduler asks for, and how many seconds the clocks' readings of two processes of a machine may lie apart.
BINDING, SLACK = "create binding", 0.05


def story(found: Sequence[Interaction], name: str) -> list[Interaction]:
    """What one object set in motion: interactions about it, and those whose cause is a revision of its story.

    name is "pods default/web" or a part of it. A write's revision leads to the reconciles it woke (their cause), whose
    writes have revisions of their own, and so on. The answer to a binding has none: the store's own write tells it."""
    revisions: set[int] = set()
    told: list[Interaction] = []
    for item in found:
        about = bool(item.object) and _names(item.object, name)
        if about or (item.cause and item.cause in revisions):
            told.append(item)
            revision = item.revision or (_bound(found, item) if item.action == BINDING else 0)
            if revision:
                revisions.add(revision)
    return told


def _bound(found: Sequence[Interaction], binding: Interaction) -> int:
    """The revision that a binding made: of the pod's update in the store while it was answered; 0 if not remembered."""
    began = binding.at - binding.seconds - SLACK
    writes = (
        item.revision
        for item in found
        if item.target == "etcd"
        and item.action == "update"
        and item.revision > binding.cause
        and began <= item.at <= binding.at + SLACK
        and _names(item.object, binding.object)
    )
    return min(writes, default=0)


def _names(shown: str, wanted: str) -> bool:
    """Whether "pods default/web" is meant by web, default/web, pod/web, pods/web or pods default/web.

    Components differ in whether they write the group: "deployments.apps shop/front" is "deployments shop/front"."""
    resource, _, key = shown.partition(" ")
    kind, blank, rest = wanted.partition(" ")
    if blank:
        return rest == key and _plain(kind) == _plain(resource)
    kind, slash, rest = wanted.partition("/")
    if wanted in (key, key.rpartition("/")[2]):
        return True
    return bool(slash) and _plain(kind) == _plain(resource) and rest in (key, key.rpartition("/")[2])


def _plain(resource: str) -> str:
    """ "deployment" for "deployments.apps"."""
    return resource.partition(".")[0].rstrip("s")
