"""What may be stored: plugins that change and check requests, in the order of chain.py."""
