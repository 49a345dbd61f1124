"""CustomResourceDefinitions: from the object to the same record that a built-in kind has."""
