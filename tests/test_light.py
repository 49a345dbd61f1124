"""What no process loads before it needs it."""

import subprocess
import sys

import pytest

HEAVY = ("cel_expr_python", "numpy", "grpc", "playwright")


@pytest.mark.parametrize(
    ("command", "allowed"), [("apiserver", ()), ("scheduler", ("numpy",)), ("controller_manager", ()), ("proxy", ())]
)
def test_large_libraries_are_not_loaded_with_a_component(command: str, allowed: tuple[str, ...]) -> None:
    """CEL's runtime alone is 20 MB of each process that has it."""
    script = f"import pynetes.cmd.{command}, sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert tuple(found.stdout.split()) == allowed
