"""What runs on each node: counters in, windows and ledgers out, caps applied and given back.

Pure modules (``counters``, ``meter``, ``hierarchy``, ``leases``, ``split``, ``commands``) take time and readings as
arguments. The shells around them own what is impure: ``sources`` and ``actuators`` the files and the NVML library,
``sampler`` the thread, ``spool`` the disk, ``link`` the broker, ``local`` the Unix socket. ``service`` wires them and
is the only module that knows everything.
"""
