"""Bring-up: what makes a cluster out of a machine."""
