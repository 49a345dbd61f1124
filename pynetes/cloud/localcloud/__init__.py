"""`pynetes local-cloud`: a cloud for one machine, so that everything cloud-shaped works at a desk.

Its instances are the cluster's nodes, its load balancers one real haproxy with an address each from a pool, its
volumes files, its routes those of the nodes. An HTTPS API with bearer tokens rules it all; /openapi.json describes
that. What it was told survives restarts; what a command was to do to the machine is done again, not remembered as
done.
"""
