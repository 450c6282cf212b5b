"""Enrolment with real processes: a session, nodes that join, and everybody who should not."""

import asyncio
import hashlib
import json
import signal
import ssl
import stat
import subprocess
import sys
import time
import tomllib

import msgspec
import pytest

from evenwatt_cli.enrolment.certificate import make_context
from evenwatt_cli.enrolment.node import join
from evenwatt_cli.enrolment.talk import Refused, Waiting, Wish, hear, pack
from evenwatt_cli.enrolment.token import Token
from evenwatt_daemon import Failure
from evenwatt_wire import Role, TrustKeeper, Verdict
from evenwatt_wire.trust import read_roots
from tests.support import free_port, process, wait_for

EVENWATT = [sys.executable, "-m", "evenwatt_cli"]


class Admin:
    """An administrator's folder: root, trust document, the broker's authority; and a session."""

    def __init__(self, folder, *, ca=None, broker="mq.example:8883"):
        folder.mkdir(exist_ok=True)
        self.folder, self.port, self.ca, self.broker = folder, free_port(), ca or folder / "ca", broker
        self.log = folder / "serve.log"
        self.run("keys", "root", "--no-passphrase")
        self.run("keys", "new", "controller", "main")
        self.run("keys", "trust", "init", "trust.json", "--fleet", "f")
        self.run("keys", "trust", "add", "trust.json", "controller", "main", "--key", "main.pub")
        self.run("keys", "trust", "sign", "trust.json", "--root", "root.pem")
        if ca is None:
            self.run("broker", "init", "--fleet", "f", "--ca", "ca")

    def run(self, *arguments, code=0):
        done = subprocess.run(
            [*EVENWATT, *arguments], cwd=self.folder, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == code, done.stderr
        return done

    def serve(self, *more):
        arguments = ["enroll", "serve", "--root", "root.pem", "--trust", "trust.json", "--ca", str(self.ca), "--broker",
                     self.broker, "--listen", f"127.0.0.1:{self.port}", "--name", "127.0.0.1", *more]  # fmt: skip
        return [*EVENWATT, *arguments]

    def token(self, node="n1", *more):
        return self.run("enroll", "token", node, "--zone", "hall", *more).stdout.strip()

    def trust(self):
        keeper = TrustKeeper("f", read_roots((self.folder / "root.pub").read_bytes()), lambda: 0)
        assert keeper.offer((self.folder / "trust.json").read_bytes()).verdict is Verdict.ADOPTED
        return keeper.trust

    def nodes(self):
        return {key.node: key.id.hex() for key in self.trust().keys if key.role is Role.NODE}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return Admin(tmp_path_factory.mktemp("admin"))


@pytest.fixture
def admin(prepared, tmp_path):
    """A fresh session of the same administrator, who lets in whoever has a token."""
    prepared.log = tmp_path / "serve.log"
    with process(prepared.serve("--yes"), prepared.log):
        listening(prepared)
        yield prepared


@pytest.fixture(autouse=True)
def _in_folder(prepared, monkeypatch):
    monkeypatch.chdir(prepared.folder)


def listening(admin):
    wait_for(lambda: admin.log.exists() and "listening" in admin.log.read_text(), "the session listens")


def enroll(token, folder, *more):
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [*EVENWATT, "enroll", "--token", "-", "--config-dir", str(folder), "--json", *more],
        input=token, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_node_joins_and_both_sides_show_one_fingerprint(admin, tmp_path):
    version = admin.trust().version
    done = enroll(admin.token(), tmp_path / "etc")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["fingerprint"] in done.stderr
    assert said["fingerprint"] in admin.log.read_text()
    assert admin.nodes()["n1"] == said["id"]
    assert admin.trust().version == version + 1
    link = tmp_path / "etc" / "node"
    assert {path.name: mode(path) for path in link.iterdir()} == {
        "node.pem": 0o600, "mqtt-key.pem": 0o600, "mqtt-cert.pem": 0o644, "mqtt-ca.pem": 0o644, "root.pub": 0o644,
        "trust.json": 0o644,
    }  # fmt: skip
    last = admin.run("audit", "show", "enrolment-audit", "--json").stdout.splitlines()[-1]
    assert json.loads(last)["kind"] == "enrolled"
    admin.run("audit", "verify", "enrolment-audit")
    settings = tomllib.loads((tmp_path / "etc" / "agent.toml").read_text())
    assert (settings["fleet"], settings["zone"], settings["node"]) == ("f", "hall", "n1")
    assert "enabled" not in settings["control"]
    assert (link / "trust.json").read_bytes() == (admin.folder / "trust.json").read_bytes()
    ssl.create_default_context(cafile=link / "mqtt-ca.pem").load_cert_chain(
        link / "mqtt-cert.pem", link / "mqtt-key.pem"
    )
    assert not [line for line in admin.log.read_text().splitlines() if "evenwatt-" in line]  # no token in the log


def test_an_enrolled_machine_is_not_enrolled_over(admin, tmp_path):
    etc = tmp_path / "etc"
    assert enroll(admin.token(), etc).returncode == 0
    old, settings = admin.nodes()["n1"], (etc / "agent.toml").read_text()
    token = admin.token()
    done = enroll(token, etc)
    assert (done.returncode, "enrolled already" in done.stderr) == (2, True)
    assert admin.nodes()["n1"] == old
    done = enroll(token, etc, "--replace")  # the token was not spent on that
    assert done.returncode == 0, done.stderr
    assert admin.nodes()["n1"] == json.loads(done.stdout)["id"] != old
    assert bytes.fromhex(old) in admin.trust().revoked_ids
    assert (etc / "agent.toml").read_text() == settings
    assert len([path for path in etc.iterdir() if path.name.startswith("node-")]) == 1


def test_one_token_lets_one_node_in(admin, tmp_path):
    token = admin.token("n3")
    tries = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        command = [*EVENWATT, "enroll", "--token", token, "--config-dir", str(tmp_path / name), "--json"]
        tries.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    ended = [(child.communicate(timeout=60), child.returncode) for child in tries]
    assert sorted(code for _, code in ended) == [0, 4, 4]
    joined = [json.loads(out)["id"] for (out, _), code in ended if code == 0]
    assert [admin.nodes()["n3"]] == joined
    for (_, why), code in ended:
        assert code == 0 or "has been used" in why
    empty = [name for name in ("a", "b", "c") if not any((tmp_path / name).iterdir())]
    assert len(empty) == 2


def test_a_token_is_for_its_node_and_its_time(admin, tmp_path):
    token = Token.parse(admin.token("n4"))
    other = msgspec.structs.replace(token, node="n5")
    done = enroll(str(other), tmp_path / "etc")
    assert (done.returncode, "given out for node 'n4', not for 'n5'" in done.stderr) == (4, True)
    assert not any((tmp_path / "etc").iterdir())
    short = admin.token("n4", "--for", "0.001m")
    time.sleep(1.5)  # tokens live for a second at the least
    assert "has ended" in enroll(short, tmp_path / "etc").stderr
    admin.run("enroll", "token", "n4", "--zone", "hall", "--for", "16m", code=2)
    assert {"n4", "n5"}.isdisjoint(admin.nodes())


def test_a_wrong_secret_is_refused_and_never_helps(admin, tmp_path):
    token = Token.parse(admin.token("n6"))
    for guess in (b"\0" * 32, b"\1" * 32, b"\2" * 32):
        done = enroll(str(msgspec.structs.replace(token, secret=guess)), tmp_path / "etc")
        assert (done.returncode, "was not proved" in done.stderr) == (4, True)
    done = enroll(str(token), tmp_path / "etc")  # three wrong proofs end it
    assert (done.returncode, "has ended" in done.stderr) == (4, True)
    assert "n6" not in admin.nodes()


async def test_nothing_is_said_to_somebody_in_between(admin, tmp_path):
    """A man in the middle with a certificate of his own sees the handshake and not a byte more."""
    context, der = make_context("127.0.0.1")
    heard = []

    async def meet(reader, writer):
        heard.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    token = Token.parse(admin.token("n7"))
    assert hashlib.sha256(der).digest() != token.fingerprint
    with pytest.raises(Failure, match="is not the session that gave out this token"):
        await join(token, f"127.0.0.1:{port}", lambda _: None)
    await asyncio.sleep(0.1)
    assert heard in ([b""], [])
    server.close()
    enrolled = await join(token, token.server, lambda _: None)  # and the token is as good as before
    assert admin.nodes()["n7"] == hashlib.sha256(enrolled.public).hexdigest()[:16]


async def test_a_recorded_wish_is_worth_nothing(admin):
    """Even who could read inside TLS: each conversation has its own nonce."""
    token = Token.parse(admin.token("n8"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    recorded = Wish(token.id, "n8", b"p" * 32, b"", b"s" * 64, b"m" * 32)
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.port, ssl=context)
    await hear(reader, 10_000)
    writer.write(pack(recorded))
    answer = await hear(reader, 10_000)
    assert isinstance(answer, Refused)
    writer.close()
    for noise in (b"\xff" * 40, b"\0\0\0\5hello", b"GET / HTTP/1.1\r\n\r\n", pack(Waiting())):
        reader, writer = await asyncio.open_connection("127.0.0.1", admin.port, ssl=context)
        await hear(reader, 10_000)
        writer.write(noise)
        assert isinstance(await hear(reader, 10_000), Refused)
        writer.close()
    await join(token, token.server, lambda _: None)


@pytest.mark.parametrize("answer", ["n\n", "y\n"])
def test_a_person_decides(prepared, tmp_path, answer):
    log = tmp_path / "serve.log"
    prepared.log = log
    with log.open("ab") as out:
        child = subprocess.Popen(prepared.serve(), stdin=subprocess.PIPE, stdout=out, stderr=out, cwd=prepared.folder)
    try:
        listening(prepared)
        before = prepared.trust().version
        token = prepared.token("n9")
        (tmp_path / "etc").mkdir()
        command = [*EVENWATT, "enroll", "--token", token, "--config-dir", str(tmp_path / "etc")]
        node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: "[y/N]" in log.read_text(), "the person is asked")
        assert not any((tmp_path / "etc").iterdir())
        child.stdin.write(answer.encode())
        child.stdin.flush()
        _, why = node.communicate(timeout=60)
        if answer == "y\n":
            assert (node.returncode, prepared.trust().version) == (0, before + 1)
        else:
            assert (node.returncode, prepared.trust().version) == (4, before)
            assert "did not let n9 in" in why
            assert not any((tmp_path / "etc").iterdir())
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("victim", ["session", "node"])
def test_whoever_dies_while_waiting_nothing_is_half_done(prepared, tmp_path, victim):
    log = tmp_path / "serve.log"
    prepared.log = log
    with log.open("ab") as out:
        child = subprocess.Popen(prepared.serve(), stdin=subprocess.PIPE, stdout=out, stderr=out, cwd=prepared.folder)
    try:
        listening(prepared)
        before = (prepared.folder / "trust.json").read_bytes()
        token = prepared.token("n10")
        (tmp_path / "etc").mkdir()
        command = [*EVENWATT, "enroll", "--token", token, "--config-dir", str(tmp_path / "etc")]
        node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: "[y/N]" in log.read_text(), "the person is asked")
        (child if victim == "session" else node).kill()
        _, why = node.communicate(timeout=60)
        if victim == "session":
            assert node.returncode == 1
            assert "nothing was written here" in why
        else:
            wait_for(lambda: "went away" in log.read_text(), "the session has seen it")
            child.send_signal(signal.SIGINT)
            assert child.wait(60) == 0
        assert not any((tmp_path / "etc").iterdir())
        assert (prepared.folder / "trust.json").read_bytes() == before
    finally:
        child.kill()
        child.wait()


def test_a_session_signs_nothing_that_nobody_has_signed(prepared, tmp_path):
    signed = (prepared.folder / "trust.json").read_bytes()
    try:
        prepared.run("keys", "trust", "remove", "trust.json", "main")
        done = subprocess.run(prepared.serve("--yes"), capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, "is not signed" in done.stderr) == (2, True)
    finally:
        (prepared.folder / "trust.json").write_bytes(signed)


def test_without_a_session_there_is_no_token(prepared):
    done = prepared.run("enroll", "token", "n1", "--zone", "hall", code=1)
    assert "no session answers there" in done.stderr


def test_a_session_that_can_ask_nobody_lets_nobody_in(prepared, tmp_path):
    prepared.log = tmp_path / "serve.log"
    with prepared.log.open("ab") as out:
        child = subprocess.Popen(prepared.serve(), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        listening(prepared)
        done = enroll(prepared.token("n11"), tmp_path / "etc")
        assert (done.returncode, "nobody can be asked" in done.stderr) == (4, True)
        assert "n11" not in prepared.nodes()
    finally:
        child.kill()
        child.wait()
