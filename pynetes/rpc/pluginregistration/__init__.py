"""Plugin registration with a kubelet: api.proto and its stubs."""
