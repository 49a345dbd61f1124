"""The Container Runtime Interface: runtime_v1.proto and its stubs."""
