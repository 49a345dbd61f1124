"""Termination messages, and what of a container's command is the image's."""

from pathlib import Path

import pytest

from pynetes.kubelet import specs
from pynetes.kubelet.cri import messages, state
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb
from tests.kubelet.rig import pod


@pytest.mark.parametrize(
    ("policy", "code", "file", "message"),
    [
        ("File", 0, "OK", "OK"),
        ("File", 1, "", ""),
        ("FallbackToLogsOnError", 0, "OK", "OK"),
        ("FallbackToLogsOnError", 1, "OK", "OK"),
        ("FallbackToLogsOnError", 1, "", "DONE\n"),
        ("FallbackToLogsOnError", 0, "", ""),
    ],
)
def test_termination_messages(tmp_path: Path, policy: str, code: int, file: str, message: str) -> None:
    """The file counts before the log; the log only after a failure, and where the policy says so."""
    (tmp_path / "message").write_text(file)
    (tmp_path / "log").write_text("2026-01-01T00:00:00Z stdout F DONE\n")
    status = pb.ContainerStatus(
        state=pb.CONTAINER_EXITED,
        exit_code=code,
        annotations={state.MESSAGE_PATH: "/elsewhere/message", state.MESSAGE_POLICY: policy},
        mounts=[pb.Mount(container_path="/elsewhere/message", host_path=str(tmp_path / "message"))],
        log_path=str(tmp_path / "log"),
    )
    assert messages.of_container(status) == message
    (tmp_path / "message").write_text("x" * 5000)
    assert len(messages.of_container(status)) == messages.MESSAGE_BYTES


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"args": ["$(WHO)"]},
        {"command": ["/bin/$(WHO)"]},
        {"command": ["/bin/$(WHO)"], "args": ["$$(WHO)", "$(NO)"]},
    ],
)
def test_arguments(given: Object) -> None:
    """What a pod says replaces command or arguments, variables expanded; what it does not say is the image's."""
    obj = pod("web")
    spec = {**{key: value for key, value in obj["spec"]["containers"][0].items() if key != "command"}, **given}
    made = specs.container(
        obj, spec, attempt=0, image=pb.Image(id="i"), environment={"WHO": "me"}, mounts=[], memory_capacity=1 << 30
    )
    expanded = {"$(WHO)": "me", "/bin/$(WHO)": "/bin/me", "$$(WHO)": "$(WHO)", "$(NO)": "$(NO)"}
    assert list(made.command) == [expanded[one] for one in given.get("command", ())]
    assert list(made.args) == [expanded[one] for one in given.get("args", ())]


def test_stop_signal() -> None:
    """The signal that a container asks for reaches the runtime; else it is the image's."""
    obj = pod("web")
    (spec,) = obj["spec"]["containers"]
    for lifecycle, signal in (({"stopSignal": "SIGUSR1"}, pb.SIGUSR1), ({}, pb.RUNTIME_DEFAULT)):
        made = specs.container(
            obj,
            {**spec, "lifecycle": lifecycle},
            attempt=0,
            image=pb.Image(id="i"),
            environment={},
            mounts=[],
            memory_capacity=1 << 30,
        )
        assert made.stop_signal == signal
