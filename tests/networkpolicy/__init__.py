"""Tests of network policies."""
