"""What tests of and on Pynetes use: a virtual clock, and a whole cluster in one process."""
