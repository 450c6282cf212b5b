"""Where power is limited: one module per kind of knob, and the record of what was there before."""

from evenwatt_agent.actuators.model import Knob, LockedError, Original

__all__ = ["Knob", "LockedError", "Original"]
