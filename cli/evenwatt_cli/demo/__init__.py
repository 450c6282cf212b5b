"""``evenwatt demo``: the whole loop on one machine, with simulated hardware and everything else real."""
