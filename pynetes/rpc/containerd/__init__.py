"""containerd's own event stream, for runtimes whose CRI has none (containerd before 1.7)."""
