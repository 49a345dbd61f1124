"""One module per command: flags, then configuration, then run."""
