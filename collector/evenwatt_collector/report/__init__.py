"""Reports: what was emitted, by whom, from what figures, and how sure that is."""
