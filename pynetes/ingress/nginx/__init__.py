"""The nginx beside the controller: its configuration file, its process, and the socket that feeds its tables."""
