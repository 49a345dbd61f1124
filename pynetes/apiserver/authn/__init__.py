"""Who sends a request: one authenticator per file, joined in union.py."""
