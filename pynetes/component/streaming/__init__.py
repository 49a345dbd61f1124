"""Protocols that share one connection between several streams: what exec, attach and port-forward speak.

Kubernetes began with SPDY/3.1 and added WebSocket; clients, the API server, kubelets and container runtimes still speak
both. Nothing here knows of pods.
"""
