"""What runs in the cluster as ordinary pods beside the control plane.

catalog.py    which add-ons there are, what images and packages they take
manifests.py  their objects: NAME.yaml of this folder with the cluster's own values put in
"""
