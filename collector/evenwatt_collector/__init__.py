"""The collector: hears the fleet, stores its ledger, counts its carbon and holds each zone under its power budget.

Data goes one way: ``link`` -> ``ingest`` -> ``fleet`` and ``store`` -> ``zone`` (``control``, ``carbon``) ->
``issuer`` -> ``link``. ``api`` shows what is there. ``service`` wires it all and is the only module that knows all.
"""

from evenwatt_wire.version import __version__

__all__ = ["__version__"]
