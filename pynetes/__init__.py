"""Pynetes: Kubernetes in Python, wire-compatible and whole."""

__version__ = "0.1.0"
#: The API level this release speaks, as reported by /version.
KUBERNETES_VERSION = "v1.36.2"
GIT_VERSION = f"{KUBERNETES_VERSION}+pynetes{__version__}"
