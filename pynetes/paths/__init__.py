"""The 29 interaction paths: their registry, their evidence and how to watch them."""
