"""Tools that deliver applications, against the API server: each with the rights of one namespace only."""
