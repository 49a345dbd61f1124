"""What scripted pods do instead of running containers: the states they go through, what they log, what exec answers.

    Script(stages=[Stage("Pending"), Stage("Running", ready=True, after=3)], logs="listening on 80\n")
    Script(exec=lambda call: Output(f"you said {call.command}"))

A script is for the pods of a namespace, or for those whose names match a pattern; the newest that matches counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

from pynetes.machinery.meta import Object, controller_of


@dataclass(frozen=True)
class Stage:
    """A state of a pod, some time after the one before. The containers' states follow from the phase."""

    #: The pod's phase.
    phase: str
    #: What its readiness probes say.
    ready: bool = False
    #: Seconds since the stage before.
    after: float = 0.0
    #: Of its containers, once the phase is Succeeded or Failed.
    exit_code: int = 0
    #: Why: of the waiting or ended containers (CrashLoopBackOff, OOMKilled), and what there is to say about it.
    reason: str = ""
    message: str = ""
    #: How often its containers were started again.
    restarts: int = 0


RUNNING = (Stage("Running", ready=True),)
FINISHING = (Stage("Running", ready=True), Stage("Succeeded"))
Stages = Callable[[Object], Sequence[Stage]]


def default_stages(pod: Object) -> Sequence[Stage]:
    """Pods of Jobs succeed, all others run until they are deleted."""
    owner = controller_of(pod)
    return FINISHING if owner and owner["kind"] == "Job" else RUNNING


@dataclass(frozen=True)
class Execution:
    """A command that somebody executes in a pod."""

    pod: Object
    container: str
    command: tuple[str, ...]
    #: All of it: the command is answered once its input has ended.
    stdin: bytes = b""
    tty: bool = False


class Output(NamedTuple):
    """What a command writes, and its exit code."""

    stdout: str | bytes = ""
    stderr: str | bytes = ""
    code: int = 0


def unknown_command(call: Execution) -> Output:
    """As a container without a shell."""
    return Output(stderr=f"{call.command[0]}: not found\n", code=127)


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a pod does. Callables run in the cluster's event loop (exec in a thread beside it)."""

    stages: Sequence[Stage] | Stages = default_stages
    #: A text, or a function of the pod and a container's name.
    logs: str | Callable[[Object, str], str] = ""
    #: A text stands for its standard output.
    exec: Callable[[Execution], Output | str] = unknown_command

    def stages_of(self, pod: Object) -> Sequence[Stage]:
        """The pod's states."""
        return self.stages(pod) if callable(self.stages) else self.stages

    def logs_of(self, pod: Object, container: str) -> str:
        """What the container has logged."""
        return self.logs(pod, container) if callable(self.logs) else self.logs


class _Rule(NamedTuple):
    namespace: str
    name: str
    script: Script


@dataclass
class Scripts:
    """Which script is whose."""

    default: Script = field(default_factory=Script)
    _rules: list[_Rule] = field(default_factory=list)

    def add(self, script: Script, *, namespace: str = "*", name: str = "*") -> None:
        """From now on for the pods whose namespace and name match these patterns (`web-*`)."""
        self._rules.insert(0, _Rule(namespace, name, script))

    def forget(self, namespace: str) -> None:
        """Drop what was added for this namespace."""
        self._rules = [rule for rule in self._rules if rule.namespace != namespace]

    def of(self, pod: Object) -> Script:
        """The pod's script."""
        metadata = pod["metadata"]
        for rule in self._rules:
            if fnmatchcase(metadata["namespace"], rule.namespace) and fnmatchcase(metadata["name"], rule.name):
                return rule.script
        return self.default
