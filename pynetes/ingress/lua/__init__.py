"""What runs inside nginx: Lua modules that route, check and balance by tables in shared memory.

The controller feeds the tables over a Unix socket (feed.lua). Values that users write (hosts, paths, annotations) are
only ever data in them: none is part of nginx's configuration, so none can become a directive, and a change of them
needs no reload. The shape of the tables is documented in pynetes/ingress/table.py.
"""
