"""Exits of containers as a stream, where the runtime offers one.

CRI's GetContainerEvents exists from containerd 1.7 on and is off there by default; containerd's own event service is on
the same socket in every version and costs nothing while nothing happens. Another runtime answers UNIMPLEMENTED: then
there is no stream, and the caller lists more often.
"""

from collections.abc import AsyncIterator

from pynetes.rpc import channel
from pynetes.rpc.containerd import events_pb2 as pb
from pynetes.rpc.containerd import events_pb2_grpc as stubs

FILTER = 'topic=="/tasks/exit"'
#: The containerd namespace that its CRI plugin uses.
NAMESPACE = "k8s.io"


async def exits(endpoint: str) -> AsyncIterator[str]:
    """IDs of containers (and sandboxes) whose main process has ended; ends when the runtime offers no more.

    The first thing yielded is "", once the subscription stands.
    """
    opened = channel.unix_channel(endpoint, path=14, source="kubelet", target="container runtime")
    try:
        service = stubs.EventsStub(opened)  # type: ignore[no-untyped-call]
        call = service.Subscribe(pb.SubscribeRequest(filters=[FILTER]))
        await call.initial_metadata()
        yield ""
        async for envelope in call:
            exited = pb.TaskExit.FromString(envelope.event.value)
            # Processes of exec and of exec probes end too; theirs is another ID.
            if envelope.namespace == NAMESPACE and exited.id == exited.container_id:
                yield exited.container_id
    except channel.RpcError:
        return
    finally:
        await opened.close()
