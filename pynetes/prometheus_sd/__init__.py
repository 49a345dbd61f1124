"""Finds what Prometheus scrapes: Kubernetes' six discovery roles over Prometheus' HTTP discovery protocol.

Distributions build Prometheus without its own Kubernetes client. With this beside it, the same relabelling rules work.
"""
