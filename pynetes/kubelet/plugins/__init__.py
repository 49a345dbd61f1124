"""Plugins of the kubelet that announce themselves by a socket: CSI drivers, device plugins, DRA drivers."""
