"""The kubelet's pod resources API, v1."""
