"""What a collector tells as it happens, for ``watch`` and ``top``: the stream, read and resumed."""
