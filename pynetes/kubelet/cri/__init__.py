"""The container runtime as the kubelet sees it: what runs (state), how to ask (runtime), when it changed (pleg)."""
