"""What the documentation is made of, and what it is held to."""
