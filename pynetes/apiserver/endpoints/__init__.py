"""The verbs, one file each, generic over every resource record."""
