"""Clouds: what stands between a cluster and whoever rents it machines, addresses, routes and disks.

`provider` is the small protocol that every cloud fulfils; providers/NAME fulfils it; controllers/ are what upstream's
cloud controller manager runs, over any of them. localcloud/ is a cloud for one machine, metadata/ what its instances
ask about themselves.
"""
