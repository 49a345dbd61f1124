"""gRPC: protocol files, their generated stubs, and the one place that opens channels."""

import os

# gRPC's handlers run in every fork of a process that has its threads, and now and then crash a program that was only
# about to be started. No child of ours speaks gRPC. Read when grpc is first imported, which is never before this.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
