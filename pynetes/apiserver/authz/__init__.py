"""What a user may do: authorizers, joined in union.py, and the reviews that ask them."""
