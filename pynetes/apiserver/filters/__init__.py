"""What every request passes on its way to an endpoint; chain.py has the one order."""
