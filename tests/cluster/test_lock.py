"""The lock that keeps two commands from working on one machine at the same time."""

import subprocess
import sys
from pathlib import Path

import pytest

from pynetes.cluster import lock
from pynetes.cluster.errors import ClusterError

HOLDER = """
import sys
from pathlib import Path
from pynetes.cluster import lock
with lock.held("pynetes up", path=Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_is_told_who_is_at_work(tmp_path: Path) -> None:
    """The error names the command and the process; once that was killed, even with KILL, the lock is free."""
    path = tmp_path / "lock"
    argv = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ClusterError) as refused, lock.held("pynetes reset", path=path):
            pass
        assert str(refused.value) == f"`pynetes up` (process {holder.pid}) is at work on this machine"
        assert refused.value.remedy
        holder.kill()
        holder.wait()
        with lock.held("pynetes reset", path=path):
            pass


def test_what_is_started_meanwhile_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A supervisor outlives `up`; it must not block the next command."""
    path = tmp_path / "lock"
    argv = ["sh", "-c", "echo running; exec sleep 100"]
    with lock.held("pynetes up", path=path):
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, close_fds=False)
        assert child.stdout is not None
        child.stdout.readline()
    with child:
        with lock.held("pynetes up", path=path):
            pass
        child.kill()


def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    """A failed `up` does not block the `reset` after it in the same process."""
    path = tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), lock.held("pynetes up", path=path):
        raise ZeroDivisionError
    with lock.held("pynetes up", path=path):
        pass
