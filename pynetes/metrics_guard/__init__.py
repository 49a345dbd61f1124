"""In front of metrics that are served on loopback: TLS, and the API server's word on who may read."""
