"""The Gateway API (v1) over the same tables: Gateways open ports, routes become rules.

kinds        the resources, which the cluster knows by their CustomResourceDefinitions
hostnames    which names a listener and a route have in common
references   what may refer to what across namespaces
backends     a rule's backendRefs and filters
routes       HTTPRoutes and GRPCRoutes as rules
listeners    a Gateway's listeners: ports, certificates, who may attach
acceptance   whether classes and Gateways can be served as they are written
compile      all of it, from one snapshot
services     the Services through which Gateways are reached
status       what is told, by difference
"""
