"""The query and path parameters of operations, as both versions of OpenAPI describe them.

Their texts are the package's where DeleteOptions has the same field, and our own otherwise.
"""

from collections.abc import Iterable
from functools import cache

from pynetes.machinery.meta import Object
from pynetes.machinery.schema import openapi as definitions

_DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"

CREATE = ("dryRun", "fieldManager", "fieldValidation")
PATCH = (*CREATE, "force")
LIST = (
    "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
    "resourceVersionMatch", "sendInitialEvents", "shardSelector", "timeoutSeconds", "watch",
)  # fmt: skip
DELETE = (
    "dryRun", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential", "orphanDependents",
    "propagationPolicy",
)  # fmt: skip
DELETE_COLLECTION = (*DELETE, *(name for name in LIST if name not in ("watch", "allowWatchBookmarks")))
GET = ("resourceVersion",)
#: Of what a subresource or its connection is asked with, by its name.
LOG = (
    "container", "follow", "insecureSkipTLSVerifyBackend", "limitBytes", "previous", "sinceSeconds", "stream",
    "tailLines", "timestamps",
)  # fmt: skip
CONNECT = {
    "exec": ("command", "container", "stderr", "stdin", "stdout", "tty"),
    "attach": ("container", "stderr", "stdin", "stdout", "tty"),
    "portforward": ("ports",),
    "proxy": ("path",),
}

_KINDS = {
    "boolean": (
        "allowWatchBookmarks", "follow", "force", "insecureSkipTLSVerifyBackend", "orphanDependents", "previous",
        "ignoreStoreReadErrorWithClusterBreakingPotential", "sendInitialEvents", "stderr", "stdin", "stdout",
        "timestamps", "tty", "watch",
    ),
    "integer": (
        "gracePeriodSeconds", "limit", "limitBytes", "ports", "sinceSeconds", "tailLines", "timeoutSeconds",
    ),
}  # fmt: skip
_KIND = {name: kind for kind, names in _KINDS.items() for name in names}

_ABOUT = {
    "pretty": "Whether the answer is indented for people: true or false. Unset, browsers and curl get it indented.",
    "fieldManager": "Who makes the change, as managedFields is to name them: at most 128 printable characters.",
    "fieldValidation": (
        "What becomes of a request with fields that the schema does not know, or that come twice: Ignore drops them, "
        "Warn (the default) drops them and says so in the Warning header, Strict refuses the request."
    ),
    "force": "Apply only: takes over fields that other managers own, instead of answering with a conflict.",
    "allowWatchBookmarks": "Lets the server send BOOKMARK events, which only tell how far the watch has come.",
    "continue": "Where a list that was cut by limit goes on: the continue token of the part before.",
    "fieldSelector": "Only objects whose fields match, such as metadata.name=web,status.phase!=Running.",
    "labelSelector": "Only objects whose labels match, such as app=web,tier in (a,b),!canary.",
    "limit": "At most so many objects; metadata.continue of the answer then says where the rest begins.",
    "resourceVersion": "How recent the answer has to be; for a watch, the version after which it begins.",
    "resourceVersionMatch": "What resourceVersion means for a list: NotOlderThan it, or Exact.",
    "sendInitialEvents": "Begins a watch with an ADDED event for every object there is, and a bookmark after them.",
    "shardSelector": "For lists in shards, an alpha feature of upstream; not supported.",
    "timeoutSeconds": "After how many seconds the list or watch ends, whatever happens.",
    "watch": "Tells the changes from now on, as a stream of events, instead of a list.",
    "container": "The container; unset, the only one of the pod, or its default one.",
    "follow": "Goes on sending what the container writes.",
    "insecureSkipTLSVerifyBackend": "Does not check the certificate of the kubelet that has the log.",
    "limitBytes": "Ends the log after so many bytes.",
    "previous": "The log of the container before its last restart.",
    "sinceSeconds": "Only what was written in the last so many seconds.",
    "stream": "Which of the container's streams: All, Stdout or Stderr.",
    "tailLines": "Only the last so many lines.",
    "timestamps": "Begins each line with the time at which it was written.",
    "command": "The program to run in the container and its arguments, each a parameter of its own.",
    "stderr": "Whether what is written to standard error is sent.",
    "stdin": "Whether what the client sends is given to standard input.",
    "stdout": "Whether what is written to standard output is sent.",
    "tty": "Whether a terminal is made for it.",
    "ports": "The ports to forward.",
}
_PLACES = {
    "name": "name of the {kind}",
    "namespace": "object name and auth scope, such as for teams and projects",
    "path": "path to the resource",
}


@cache
def _texts() -> dict[str, str]:
    return _ABOUT | dict(
        zip(DELETE, definitions.descriptions(*((_DELETE_OPTIONS, name) for name in DELETE)), strict=True)
    )


def query(name: str, *, options: str = "") -> Object:
    """A query parameter as version 3 has it; `options` is the connection's, whose own path parameter differs."""
    text = f"The rest of the path that the {options} is asked for." if name == "path" else _texts()[name]
    schema = {"type": _KIND.get(name, "string"), "uniqueItems": True}
    return {"name": name, "in": "query", "description": text, "schema": schema}


def place(name: str, kind: str) -> Object:
    """A parameter that is part of the path."""
    return {
        "name": name,
        "in": "path",
        "description": _PLACES[name].format(kind=kind),
        "required": True,
        "schema": {"type": "string", "uniqueItems": True},
    }


def ordered(found: Iterable[Object]) -> list[Object]:
    """By name, then by place."""
    return sorted(found, key=lambda parameter: (parameter["name"], parameter["in"]))
