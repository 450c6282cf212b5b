"""``evenwatt audit``: who asked what of which machine, what became of it, and whether the log of it is whole."""
