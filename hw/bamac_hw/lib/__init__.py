"""Small circuits that any other package may use."""
