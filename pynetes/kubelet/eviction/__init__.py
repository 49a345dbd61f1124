"""Eviction: ends pods before the machine runs out of memory, disk, inodes or process IDs."""
