"""An MQTT broker in a process that can be killed: ``broker.py PORT``."""

from __future__ import annotations

import signal
import sys

from evenwatt_cli.demo.processes import start_broker


def main() -> None:
    """Serve until a signal."""
    broker = start_broker(int(sys.argv[1]))
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    broker.stop()


if __name__ == "__main__":
    main()
