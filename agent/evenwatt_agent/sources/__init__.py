"""Where power is read: one module per kind of counter, each with ``discover(...) -> Found``."""

from evenwatt_agent.sources.model import Found, Probe, Problem, ReadError, Unit

__all__ = ["Found", "Probe", "Problem", "ReadError", "Unit"]
