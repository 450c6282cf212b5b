"""Which model: variants that do a task, what they cost here and now, what they have cost so far.

Pure but for ``runs`` and ``desk``.
"""
