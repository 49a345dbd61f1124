"""gRPC health checking, for probes of kind grpc."""
