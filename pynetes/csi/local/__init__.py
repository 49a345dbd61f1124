"""The CSI driver `local`: volumes are image files on the machine's disk, mounted through loop devices.

A volume's size is a real limit, because each volume is a filesystem (or a device) of its own. All drivers of one
machine share a folder, one driver per node: what the topology of a volume names is the machine, so a volume follows
its pod to any node of the machine, and to no other.
"""

#: How this driver is called in CSIDriver objects and StorageClasses.
NAME = "local.csi.pynetes.io"
#: The topology key: a machine, by the identity that its folder of volumes has been given.
TOPOLOGY_KEY = "topology.pynetes.io/machine"
