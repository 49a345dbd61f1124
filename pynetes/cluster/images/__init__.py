"""Images without a registry: packed from what the machine has, imported into each node's containerd.

archive.py    writes OCI image archives, layer by layer
recipes.py    what goes into each image: pause, busybox, Pynetes itself, and what add-ons run beside it
interpreter.py  the running Python, its library and its packages as files of an image
debian.py     files of Debian packages as files of an image
libraries.py  the shared libraries that programs need
store.py      packs what is missing, by content, and imports it
"""
