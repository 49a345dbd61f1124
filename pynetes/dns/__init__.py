"""The cluster's DNS server: the Kubernetes DNS specification 1.1.0 for Services and pods, all else forwarded.

Pure parts: records.py (objects → records), zone.py (records by owner, changed by difference), answers.py (question →
encoded answer), wire.py (the message format). A question that was asked before is answered from its encoded answer by
two dictionary look-ups; a change of the zone forgets exactly the answers that it touches.
"""
