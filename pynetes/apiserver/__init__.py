"""The API server: HTTP, the filter chain, verbs, admission, and the resources with I/O."""
