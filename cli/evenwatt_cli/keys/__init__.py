"""Keys of a fleet: making them, and the signed document that says which ones count."""
