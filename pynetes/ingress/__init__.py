"""Traffic from outside: Ingress and Gateway API objects become the tables by which an nginx routes.

Rules are computed from a snapshot of the API objects (`ingresses`, `gateways`), laid out as tables (`table`), and fed
by difference to Lua code inside nginx (`lua`, `nginx`). Only ports and the few settings that nginx must know beforehand
are in its configuration file, so nearly no change needs a reload.
"""
