"""The node side of drivers whose volumes arrive as block devices: disks that a cloud has attached to this machine."""
