"""Bring-up: from a machine with nothing on it to a cluster that answers kubectl, and back without a trace.

`up` is a visible list of phases (phases.py) over declared processes (processes.py) that one supervisor keeps alive
(supervisor.py). Everything a cluster owns is found again by its name alone, so that a half-finished `up` can be
continued or undone by a process that knows nothing else.
"""
