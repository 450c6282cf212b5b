"""Two collectors, of which one acts: who that is, how the other notices its end, and how it goes on from there.

``machine`` decides (pure), ``waiting`` is the standby, ``tenure`` the hold of the active one. docs/standby.md says why.
"""
