"""The verbs `score` and `improvement`."""
