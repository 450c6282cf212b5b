"""The version of evenwatt: of the wheel, of every package in it, and of what a node says at birth."""

__version__ = "0.1.0"
