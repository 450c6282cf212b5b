"""The part of a node that is root: it holds the limits, checks every command itself, and lends open energy counters.

It has no network. An agent without any privilege talks to it over a Unix socket (``protocol``), passes on what came
over MQTT, and tells the power of each bin. What an agent can do to it is what that file lists, and no more.
"""
