"""Key management service, v2: api.proto and its stubs."""
