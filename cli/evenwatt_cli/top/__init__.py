"""``evenwatt top``: the fleet now, in a terminal; drawing is pure, and ``app`` is the shell around it."""
