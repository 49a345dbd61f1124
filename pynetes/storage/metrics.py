"""What the store was asked and how long it took, by kind of object, under upstream's names.

A backend knows keys only; the watch cache, which knows resources, tells here which prefix is whose.
"""

from collections.abc import Iterator

from pynetes.component.metrics import REGISTRY, ReadCounter
from pynetes.machinery.resource import Resource

REQUESTS = REGISTRY.counter(
    "etcd_requests_total", "Etcd request counts for each operation and object type.", "operation", "group", "resource"
)
ERRORS = REGISTRY.counter(
    "etcd_request_errors_total",
    "Etcd failed request counts for each operation and object type.",
    "operation", "group", "resource",
)  # fmt: skip
SECONDS = REGISTRY.histogram(
    "etcd_request_duration_seconds",
    "Etcd request latency in seconds for each operation and object type.",
    "operation", "group", "resource",
    buckets=(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60),
)  # fmt: skip
_LISTS = {
    name: REGISTRY.counter(f"apiserver_storage_list_{name}_total", text, "group", "resource")
    for name, text in (
        ("fetched_objects", "Number of objects read from storage in the course of serving a LIST request"),
        ("evaluated_objects", "Number of objects tested in the course of serving a LIST request from storage"),
        ("returned_objects", "Number of objects returned for a LIST request from storage"),
    )
}
#: Asked of the store when somebody scrapes.
SIZE = REGISTRY.gauge(
    "apiserver_storage_size_bytes",
    "Size of the storage database file physically allocated in bytes.",
    "storage_cluster_id",
)
_LISTED = REGISTRY.counter(
    "apiserver_storage_list_total", "Number of LIST requests served from storage", "group", "resource"
)
#: Prefix of keys → (group, resource).
_KINDS: dict[str, tuple[str, str]] = {}
#: (gRPC method, code) → how many calls ended so.
_CALLS: dict[tuple[str, str], int] = {}
_NOBODY = ("", "")


def named(resource: Resource) -> None:
    """From now on, keys below this resource's prefix count as its."""
    _KINDS[resource.prefix] = (resource.group, resource.plural)


def kind_of(key: str) -> tuple[str, str]:
    """Group and resource that a key belongs to; empty ones for what belongs to none."""
    parts = key.split("/", 4)
    if len(parts) < 4:
        return _NOBODY
    found = _KINDS.get(f"/{parts[1]}/{parts[2]}/{parts[3]}/") if len(parts) > 4 else None
    return found or _KINDS.get(f"/{parts[1]}/{parts[2]}/", _NOBODY)


def called(operation: str, key: str, method: str, seconds: float, code: str) -> None:
    """One call of etcd has ended. code is gRPC's, in upstream's spelling."""
    labels = (operation, *kind_of(key))
    REQUESTS.inc(*labels)
    SECONDS.observe(seconds, *labels)
    if code != "OK":
        ERRORS.inc(*labels)
    _CALLS[method, code] = _CALLS.get((method, code), 0) + 1


def listed(resource: Resource, fetched: int, returned: int) -> None:
    """A list was read past the cache; every object of it was looked at."""
    labels = resource.group, resource.plural
    _LISTED.inc(*labels)
    for name, count in (("fetched_objects", fetched), ("evaluated_objects", fetched), ("returned_objects", returned)):
        _LISTS[name].inc(*labels, by=count)


Samples = Iterator[tuple[tuple[str, ...], float]]


def _handled() -> Samples:
    for (method, code), count in tuple(_CALLS.items()):
        yield (*_split(method), code), count


def _answered() -> Samples:
    for (method, code), count in tuple(_CALLS.items()):
        if code == "OK":
            yield _split(method), count


def _started() -> Samples:
    sums: dict[str, int] = {}
    for (method, _), count in tuple(_CALLS.items()):
        sums[method] = sums.get(method, 0) + count
    for method, count in sums.items():
        yield _split(method), count


def _split(method: str) -> tuple[str, str, str]:
    _, service, name = method.split("/")
    return "unary", service, name


_LABELS = ("grpc_type", "grpc_service", "grpc_method")
for _name, _text, _read in (
    ("grpc_client_started_total", "Total number of RPCs started on the client.", _started),
    ("grpc_client_msg_sent_total", "Total number of gRPC stream messages sent by the client.", _started),
    ("grpc_client_msg_received_total", "Total number of RPC stream messages received by the client.", _answered),
):
    REGISTRY.add(ReadCounter(_name, _text, *_LABELS, read=_read))
REGISTRY.add(
    ReadCounter(
        "grpc_client_handled_total",
        "Total number of RPCs completed by the client, regardless of success or failure.",
        *_LABELS,
        "grpc_code",
        read=_handled,
    )
)
