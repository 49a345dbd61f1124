"""Preflight: every problem is told, with the remedy."""

import socket

import pytest

from pynetes.cluster import preflight
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError


def test_a_taken_port_is_told_with_its_owner_s_trace() -> None:
    """The message names the port and what needs it; the remedy finds who has it."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        problems = preflight.before_packages(Cluster(secure_port=port))
    (problem,) = [problem for problem in problems if str(port) in problem.message]
    assert problem.message.startswith(f"port {port} for the API server (--secure-port) is taken")
    assert f"sport = :{port}" in problem.remedy


def test_all_problems_are_refused_at_once() -> None:
    """One error carries every message and every remedy."""
    with pytest.raises(ClusterError) as refused:
        preflight.refuse([preflight.Problem("no disk", "free some"), preflight.Problem("no root", "use sudo")])
    assert str(refused.value) == "no disk; no root"
    assert refused.value.remedy == "free some; use sudo"


def test_nothing_is_refused_when_nothing_is_wrong() -> None:
    """An empty list passes."""
    preflight.refuse([])
