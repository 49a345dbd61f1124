"""Device plugins over gRPC, v1beta1."""
