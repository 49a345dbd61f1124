"""The Container Storage Interface: csi.proto and its stubs, a client (`driver`) of any driver."""
