"""``evenwatt choose``, ``models`` and ``card``."""
