"""The node's side of the Container Storage Interface."""
