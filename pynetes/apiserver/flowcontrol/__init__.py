"""API priority and fairness: which requests may begin now, which wait their turn, and which are told to come back."""
