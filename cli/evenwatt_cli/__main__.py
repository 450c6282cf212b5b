"""``python -m evenwatt_cli`` is ``evenwatt``."""

from evenwatt_cli.main import entry

entry()
