"""How a node joins a fleet: it makes its own keys, proves a single-use token, and is confirmed by a person."""
