"""What runs on each node: counters in, windows and ledgers out, caps applied and given back; and whose joules they are.

Pure modules (``counters``, ``meter``, ``hierarchy``, ``attribution``, ``idle``, ``groups``, ``tasks``, ``leases``,
``split``, ``commands``) take time and readings as arguments. The shells around them own what is impure: ``sources`` and
``actuators`` the files and the NVML library, ``sampler`` the thread, ``processes``, ``cgroups`` and ``cpu_use`` the
look at who runs, ``accounting`` the account, ``spool`` the disk, ``link`` the broker, ``local`` and ``task_server`` the
Unix sockets. ``service`` wires them and is the only module that knows everything.

Programs on the node use :class:`task`; the rest is the agent's own.
"""

from evenwatt_agent.task_client import TaskRefusedError, task

__all__ = ["TaskRefusedError", "task"]
