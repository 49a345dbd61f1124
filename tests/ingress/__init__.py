"""Tests of pynetes.ingress."""
