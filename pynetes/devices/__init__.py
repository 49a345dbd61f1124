"""A device plugin: hands out device files of the machine to containers, over the kubelet's device plugin interface."""
