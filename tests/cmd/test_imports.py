"""What a component imports is what every node pays for: memory, and time until it is ready."""

import subprocess
import sys

import pytest

#: Command → packages that it has no use for until somebody asks for something.
UNNEEDED = {
    "dns": ("cel_expr_python", "hpack", "nacl", "grpc", "numpy"),
    "metrics_server": ("cel_expr_python", "hpack", "nacl", "grpc", "numpy"),
    "proxy": ("cel_expr_python", "hpack", "nacl", "grpc", "numpy"),
    "controller_manager": ("cel_expr_python", "hpack", "nacl", "grpc", "numpy"),
    "kubelet": ("cel_expr_python", "hpack", "nacl", "numpy"),
}


@pytest.mark.parametrize("command", UNNEEDED)
def test_a_component_imports_no_library_of_anothers(command: str) -> None:
    """CEL alone is 20 MB in every process, and image layers leave such packages out."""
    code = f"import sys, pynetes.cmd.{command}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {module.partition(".")[0] for module in run.stdout.split()} & set(UNNEEDED[command])
