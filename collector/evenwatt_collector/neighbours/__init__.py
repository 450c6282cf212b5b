"""What the collector says to other people's programs, where its settings ask for it; docs/neighbours.md.

``settings``        the tables ``[otlp]``, ``[home_assistant]`` and ``[sparkplug]``.
``otlp``            a picture of the fleet as OpenTelemetry's messages (pure); ``otlp_export`` sends them.
``home_assistant``  devices as Home Assistant finds them (pure); ``announcing`` keeps them on the broker.
``sparkplug``       zones and nodes as Sparkplug hosts see them, ``sparkplug_payload`` the bytes (pure);
                    ``sparkplug_bridge`` tells them.

Nothing here is in anybody's way: a receiver that is down costs a warning, and watts are steered as before.
"""
