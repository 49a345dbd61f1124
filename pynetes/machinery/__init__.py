"""Pure API machinery: no I/O, no clock, no randomness."""
