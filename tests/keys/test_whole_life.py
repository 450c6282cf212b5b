"""From nothing to a capped node, by the commands of the documentation: keys, broker, enrolment, cap, revocation."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.broker.site import TlsBroker
from tests.keys.test_enrolling import Admin, enroll, listening
from tests.support import process, wait_for

NODE, ZONE = "n1", "hall"


def test_a_node_is_enrolled_capped_and_let_go(tmp_path, monkeypatch):
    (tmp_path / "broker").mkdir()
    broker = TlsBroker(tmp_path / "broker")
    admin = Admin(tmp_path / "admin", ca=broker.ca, broker=f"localhost:{broker.port}")
    monkeypatch.chdir(admin.folder)
    admin.run("keys", "new", "operator", "ada")
    admin.run("keys", "trust", "add", "trust.json", "operator", "ada", "--key", "ada.pub", "--only-zone", ZONE)
    admin.run("keys", "trust", "sign", "trust.json", "--root", "root.pem")
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "agent.toml").write_text(
        f'state_dir = "{tmp_path / "state"}"\nruntime_dir = "{tmp_path / "run"}"\n'
        f'[sources]\nsysfs = "{tmp_path / "twin" / NODE / "sys"}"\n'
        "[control]\nenabled = true\nrequire_synchronised_clock = false\nfallback_w = 250.0\n"
    )
    with process(admin.serve("--yes"), admin.log):
        listening(admin)
        done = enroll(admin.token(NODE), etc)
        assert done.returncode == 0, done.stderr
    mine = broker.client("operator.ada")
    (tmp_path / "operator.toml").write_text(
        f'fleet = "f"\nzone = "{ZONE}"\nprivate_key = "ada.pem"\ntrust = "trust.json"\nroot = "root.pub"\n'
        f'[mqtt]\nhost = "localhost"\nport = {broker.port}\nca_file = "{mine.ca_file}"\n'
        f'cert_file = "{mine.cert_file}"\nkey_file = "{mine.key_file}"\n'
    )
    broker.start()
    try:
        with process(*twin(tmp_path)), started(etc, tmp_path) as running:
            wait_for(lambda: '"joined"' in (tmp_path / "agent.log").read_text(), "the node has joined", 60)
            code, ack = cap(tmp_path)
            assert (code, ack["code"], ack["after_w"]) == (0, "applied", pytest.approx(300, abs=2))
            (admin.folder / "before.json").write_bytes((admin.folder / "trust.json").read_bytes())
            admin.run("keys", "trust", "revoke", "trust.json", "ada")
            admin.run("keys", "trust", "sign", "trust.json", "--root", "root.pem")
            (etc / "node" / "trust.json").write_bytes((admin.folder / "trust.json").read_bytes())
            running.send_signal(signal.SIGHUP)
            wait_for(lambda: "trust-changed" in (tmp_path / "agent.log").read_text(), "the revocation is known")
            assert cap(tmp_path) == (2, None)  # the command line knows, and sends nothing
            operator = tmp_path / "operator.toml"
            operator.write_text(operator.read_text().replace('"trust.json"', '"before.json"'))
            assert cap(tmp_path) == (5, None)  # nobody answers who is not trusted
    finally:
        broker.stop()


def twin(folder):
    spec = {"machines": [{"id": NODE, "preset": "xeon_2s", "profile": {"kind": "steady", "load": 0.8}}]}
    (folder / "twin.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "evenwatt_twin", str(folder / "twin.json"), "--dir", str(folder / "twin")]
    return command, folder / "twin.log"


def started(etc, folder):
    wait_for(lambda: '"ready": true' in (folder / "twin.log").read_text(), "the twin is ready")
    command = [sys.executable, "-m", "evenwatt_agent", "--config", str(etc / "agent.toml")]
    return process(command, folder / "agent.log")


def cap(folder):
    command = [sys.executable, "-m", "evenwatt_cli", "cap", NODE, "300", "--for", "1m", "--json", "-c"]
    done = subprocess.run([*command, folder / "operator.toml"], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, json.loads(done.stdout) if done.stdout else None
