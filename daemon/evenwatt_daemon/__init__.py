"""House-keeping every evenwatt daemon shares: its settings file, its log, its service manager, its way to die.

Kept apart from the wire, which other people's programs import, and from the daemons, which must not know each other.
"""

from evenwatt_daemon.failures import EXIT_FAILURE, EXIT_OK, EXIT_USAGE, Failure, on_reload, run_daemon
from evenwatt_daemon.lean import settle
from evenwatt_daemon.locks import lock_folder, machine_folder
from evenwatt_daemon.logs import get_logger, setup_logging
from evenwatt_daemon.notify import Notifier
from evenwatt_daemon.settings import load_settings, read_document

__all__ = [
    "EXIT_FAILURE",
    "EXIT_OK",
    "EXIT_USAGE",
    "Failure",
    "Notifier",
    "get_logger",
    "load_settings",
    "lock_folder",
    "machine_folder",
    "on_reload",
    "read_document",
    "run_daemon",
    "settle",
    "setup_logging",
]
