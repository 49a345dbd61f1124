"""Aggregation: group versions that another API server serves, announced by an APIService that names a Service.

remotes.py keeps which those are and finds their endpoints, availability.py asks them regularly and sets the condition,
handler.py hands requests on under the front proxy's certificate, discovery.py shows them beside our own groups.
"""
