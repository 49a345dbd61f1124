"""What an instance may ask about itself: the instance metadata service, version 2, and the credentials it gives out."""
