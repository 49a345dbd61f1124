"""Termination messages: what a container left in its message file, or else the end of its log."""

from pathlib import Path

from pynetes.kubelet import logs
from pynetes.kubelet.cri import state
from pynetes.rpc.cri import runtime_v1_pb2 as pb

#: Upstream's limits: of a message, and of one taken from the log.
MESSAGE_BYTES = 4096
LOG_BYTES = 2048
LOG_LINES = 80


def of_container(status: pb.ContainerStatus) -> str:
    """The message of an exited container; the runtime's own when there is none."""
    if status.state != pb.CONTAINER_EXITED:
        return str(status.message)
    where = status.annotations.get(state.MESSAGE_PATH, "")
    host = next((mount.host_path for mount in status.mounts if where and mount.container_path == where), "")
    text = _head(Path(host)) if host else ""
    policy = status.annotations.get(state.MESSAGE_POLICY, "")
    if not text and policy == "FallbackToLogsOnError" and status.exit_code != 0 and status.log_path:
        text = logs.end_of(Path(status.log_path), lines=LOG_LINES, limit=LOG_BYTES)
    return text or str(status.message)


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MESSAGE_BYTES).decode(errors="replace")
    except OSError:
        return ""
