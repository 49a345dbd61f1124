"""What a running server tells of itself to those who may ask: /statusz, /flagz, /debug/flags and /debug/pprof.

statusz and flagz are text for people; for programs they are objects of config.k8s.io, of which a version has to be
asked for in full (Accept: application/json;as=Statusz;g=config.k8s.io;v=v1beta1), and anything less is a 406
(KEP-4827, KEP-4828). Flags whose name says that they are secret are not shown. /debug/flags/v takes a new log level by
PUT. /debug/pprof is what this runtime has of it: the command line and the stacks of all tasks and threads.
"""

import asyncio
import dataclasses
import html
import logging
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

import yaml

from pynetes.apiserver.config import Config
from pynetes.apiserver.discovery import version
from pynetes.apiserver.http import Request, Response, json_response, text_response
from pynetes.component import logs
from pynetes.machinery import errors
from pynetes.machinery.meta import Object

_COMPONENT, _GROUP = "kube-apiserver", "config.k8s.io"
_VERSIONS, _DEPRECATED = ("v1beta1", "v1alpha1"), ("v1alpha1",)
_STRUCTURED = ("application/json", "application/yaml")
_SECRET = re.compile("token|password|secret").search
_NOTE = "Warning: this page is for people; its form may change at any time.\n"
#: Roots that are the API itself and no help in finding faults.
_API_ROOTS = ("/api", "/apis", "/openid", "/openapi", "/.well-known")
_STARTED = time.time()


def answer(request: Request, config: Config, listed: Sequence[str]) -> Response | None:
    """The page at the request's path, None if it is none of these. Raises StatusError 406. `listed` is what / lists."""
    path = request.path.rstrip("/")
    if path.startswith("/debug") and not config.profiling:
        return None
    if path == "/debug/flags/v" and request.method == "PUT":
        return _set_verbosity(request.body.decode(errors="replace").strip())
    if path == "/statusz":
        return _negotiated(request, "Statusz", _status(listed))
    if path == "/flagz":
        return _negotiated(request, "Flagz", {"flags": flags(config)})
    if path == "/debug/flags/v":
        return text_response("unsupported http method", 406)
    if path == "/debug/flags" or path.startswith("/debug/flags/"):
        return _page("/debug/flags/", ["v"])
    if path == "/debug/pprof":
        return _page("/debug/pprof/", ["cmdline", "goroutine"])
    if path == "/debug/pprof/cmdline":
        return text_response("\0".join(sys.orig_argv))
    if path == "/debug/pprof/goroutine":
        return text_response(_stacks())
    return None


def flags(config: Config) -> dict[str, str]:
    """The value of every flag that may be shown, by its name."""
    found = {}
    for member in dataclasses.fields(config):
        value: Any = getattr(config, member.name)
        name = member.name.replace("_", "-")
        if _SECRET(name) and not name.endswith(("-file", "-ttl", "-expiration")):
            continue
        found[name] = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return dict(sorted(found.items()))


def _status(listed: Sequence[str]) -> Object:
    roots = {"/" + path.split("/")[1] for path in listed if path != "/"}
    found = version()
    return {
        "startTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_STARTED)),
        "uptimeSeconds": max(0, int(time.time() - _STARTED)),
        "goVersion": f"{platform.python_implementation()} {platform.python_version()}",
        "binaryVersion": found["gitVersion"].removeprefix("v"),
        "emulationVersion": f"{found['major']}.{found['minor']}",
        "paths": sorted(roots.difference(_API_ROOTS) | {"/flagz", "/statusz"}),
    }


def _negotiated(request: Request, kind: str, found: Object) -> Response:
    """As text unless Accept names a version of the kind. Raises StatusError 406."""
    accept = request.headers.get("accept") or "text/plain"
    for part in accept.split(","):
        media, *rest = (piece.strip() for piece in part.split(";"))
        if media in ("text/plain", "text/*", "*/*"):
            return text_response(_text(kind, found))
        parameters = dict(piece.partition("=")[::2] for piece in rest)
        wanted = parameters.get("v", "")
        if (
            media in _STRUCTURED
            and wanted in _VERSIONS
            and (parameters.get("as"), parameters.get("g")) == (kind, _GROUP)
        ):
            obj = {"kind": kind, "apiVersion": f"{_GROUP}/{wanted}", "metadata": {"name": _COMPONENT}, **found}
            response = json_response(obj)
            if media.endswith("yaml"):
                response = Response(200, yaml.safe_dump(obj, sort_keys=False).encode(), media)
            if wanted in _DEPRECATED:
                text = f"This version of the {kind.lower()} endpoint is deprecated. Please use a newer version."
                response = response.with_headers(("Warning", f'299 - "{text}"'))
            return response
    text = "only the following media types are accepted: application/json, application/yaml, text/plain"
    raise errors.failure(406, "NotAcceptable", text)


def _text(kind: str, found: Object) -> str:
    lines = [f"{name}: {' '.join(value) if isinstance(value, list) else value}" for name, value in found.items()]
    if kind == "Flagz":
        lines = [f"{name}={value}" for name, value in found["flags"].items()]
    return f"\n{_COMPONENT} {kind.lower()}\n{_NOTE}\n" + "\n".join(lines) + "\n"


def _set_verbosity(text: str) -> Response:
    if not text.isdigit():
        return text_response(f"failed set of verbosity: {text!r} is no number", 400)
    logs.set_verbosity(int(text))
    logging.getLogger(__name__).info(logs.fact("verbosity changed", v=text, pid=os.getpid()))
    return text_response(f"successfully set verbosity to {text}")


def _page(title: str, names: Sequence[str]) -> Response:
    items = "".join(f'<li><a href="{title}{name}">{name}</a></li>' for name in names)
    shown = html.escape(title)
    text = f"<html><head><title>{shown}</title></head><body>{shown}<ul>{items}</ul></body></html>"
    return Response(200, text.encode(), "text/html; charset=utf-8")


def _stacks() -> str:
    tasks = asyncio.all_tasks()
    parts = [f"{len(tasks)} tasks"]
    for task in sorted(tasks, key=lambda task: task.get_name()):
        frames = [f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" for frame in task.get_stack()]
        parts.append("\n\t".join([f"task {task.get_name()}", *frames]))
    for thread, frame in sys._current_frames().items():
        parts.append(f"thread {thread}\n" + "".join(traceback.format_stack(frame)))
    return "\n\n".join(parts) + "\n"
