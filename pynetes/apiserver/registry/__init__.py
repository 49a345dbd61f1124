"""Resources with I/O: what a record cannot say because it allocates, signs, or writes another object.

`table.py` lists them: HANDLERS for subresources and reviews, STRATEGIES for what surrounds generic storage.
"""
