"""gRPC: protocol files, their generated stubs, and the one place that opens channels."""
