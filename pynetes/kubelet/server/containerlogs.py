"""/containerLogs/NAMESPACE/POD/CONTAINER: a container's log, as `kubectl logs` asks for it."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from pynetes.kubelet import logs, podspec
from pynetes.kubelet.cri.state import Container, State
from pynetes.machinery import time

if TYPE_CHECKING:
    from pynetes.kubelet.kubelet import Kubelet
    from pynetes.kubelet.worker import Worker


def worker_of(kubelet: "Kubelet", namespace: str, name: str, uid: str = "") -> "Worker":
    """The worker of a pod, the newest under its name. Raises 404."""
    found = [
        worker
        for worker in kubelet.workers.values()
        if worker.pod["metadata"]["name"] == name
        and worker.pod["metadata"].get("namespace") == namespace
        and uid in ("", worker.uid)
    ]
    if not found:
        raise web.HTTPNotFound(text=f'pod "{name}" does not exist\n')
    return max(found, key=lambda worker: not worker.removed)


def options(query: "web.BaseRequest", kubelet: "Kubelet") -> logs.Options:
    """PodLogOptions from the query. Raises 400 for what is no number or time."""
    values = query.query
    try:
        since = None
        if values.get("sinceSeconds"):
            since = kubelet.clock.now() - timedelta(seconds=int(values["sinceSeconds"]))
        elif values.get("sinceTime"):
            since = time.parse(values["sinceTime"])
        tail = values.get("tailLines")
        limit = values.get("limitBytes")
        return logs.Options(
            follow=values.get("follow") in ("true", "1", ""),
            timestamps=values.get("timestamps") in ("true", "1", ""),
            since=since,
            tail=int(tail) if tail else None,
            limit=int(limit) if limit else None,
            stream="" if values.get("stream", "All") == "All" else values["stream"],
        )
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error


def add(application: web.Application, kubelet: "Kubelet") -> None:
    """Add the route."""

    async def answer(request: web.Request) -> web.StreamResponse:
        info = request.match_info
        worker = worker_of(kubelet, info["namespace"], info["pod"])
        if podspec.find(worker.pod, info["container"]) is None:
            raise web.HTTPNotFound(text=f"container {info['container']} not found in pod {info['pod']}\n")
        attempts = kubelet.ctx.pleg.get(worker.uid).attempts(info["container"])
        chosen = options(request, kubelet)
        one = _attempt(attempts, previous=request.query.get("previous") in ("true", "1", ""))
        if one is None:
            kind = "previous terminated container" if "previous" in request.query else "container"
            text = f'{kind} "{info["container"]}" in pod "{info["pod"]}" '
            text += "not found\n" if "previous" in request.query else "is waiting to start: ContainerCreating\n"
            raise web.HTTPBadRequest(text=text)

        def running() -> bool:
            now = next((c for c in kubelet.ctx.pleg.get(worker.uid).containers if c.id == one.id), None)
            return now is not None and now.state == State.RUNNING

        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            async for chunk in logs.read(Path(one.log_path), chosen, kubelet.clock, running):
                await response.write(chunk)
        except (FileNotFoundError, ConnectionError):
            return response
        await response.write_eof()
        return response

    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", answer)


def _attempt(attempts: tuple[Container, ...], *, previous: bool) -> Container | None:
    """The attempt whose log is meant. While the newest has not started, its predecessor's log is what there is."""
    if previous:
        return next((one for one in attempts[1:] if one.state == State.EXITED), None)
    started = [one for one in attempts if one.state != State.CREATED]
    return started[0] if started else None
