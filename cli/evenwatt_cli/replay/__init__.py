"""Replay: the control core on a simulated fleet under virtual time, beside the published rules.

``scenarios``, ``traffic`` and ``inputs`` say what happens, ``plant`` is the fleet, ``network`` carries and loses
messages, ``loops`` are the ways to control it (``ours`` and those of ``baselines``), ``engine`` turns the clock,
``measure`` judges, ``report`` shows. Everything follows from the seed.
"""
