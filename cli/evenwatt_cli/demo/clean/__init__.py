"""``evenwatt demo --scenario clean-hours``: jobs move into clean hours, caps are learned, a service changes its model.

Time is accelerated, which is said wherever it shows: an hour of the made-up grid lasts ten seconds. Nothing but the
grid's file knows of it. Jobs, deadlines and joules are counted in seconds as they are.
"""
