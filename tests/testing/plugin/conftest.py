"""Here `cluster` is the plugin's, for tests that block."""

from pynetes.testing.plugin import cluster

__all__ = ["cluster"]
