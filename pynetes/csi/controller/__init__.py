"""The control side of a CSI driver: what makes, attaches, grows, modifies and snapshots its volumes.

One component per driver, beside it on the same socket, does what upstream's external-provisioner, -attacher, -resizer
and -snapshotter do, each as a Controller of its own; one instance at a time, by a Lease. It looks only at objects that
name its driver. With `local` it further looks only at what is reachable from its own node's topology: for drivers
whose volumes live where they are made, each place then has its own instance.
"""
