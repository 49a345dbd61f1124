"""Kinds of the API group v1 (core)."""
