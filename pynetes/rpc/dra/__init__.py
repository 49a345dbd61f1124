"""Drivers of dynamic resource allocation over gRPC."""
