"""``evenwatt submit``, ``jobs``, ``cancel`` and ``plan``: jobs from a terminal."""
