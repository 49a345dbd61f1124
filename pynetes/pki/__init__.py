"""Authorities, certificates, keys and the kubeconfigs made from them, under the names that kubeadm uses."""
