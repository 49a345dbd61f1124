"""Tests of pynetes/csi."""
