"""The store: one protocol, three backends, and the watch cache above them. Only apiserver opens it."""
