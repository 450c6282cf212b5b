"""Putting down what a node got when it joined, so that it is all there or nothing is.

Everything goes into a folder of its own, ``node-<key id>``, and a symbolic link ``node`` is turned to it in one step
(rename(2)). The settings are changed last, and only name that link.
"""

from __future__ import annotations

import os
import pwd
import shutil
from typing import TYPE_CHECKING, Final

from evenwatt_cli.enrolment.settings_file import ChangeError, changed
from evenwatt_daemon import Failure
from evenwatt_daemon.files import sync_folder, write_file
from evenwatt_wire.keyring import key_id

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_cli.enrolment.node import Enrolled

LINK: Final = "node"
SETTINGS: Final = "agent.toml"
KEY, TLS_KEY, CERTIFICATE, CA, ROOT, TRUST = (
    "node.pem", "mqtt-key.pem", "mqtt-cert.pem", "mqtt-ca.pem", "root.pub", "trust.json"
)  # fmt: skip


def check_free(config_dir: Path, *, replace: bool) -> None:
    """See that this machine may be enrolled, before anything is asked of anybody.

    Raises:
        Failure: it is enrolled already, or the folder cannot be written.
    """
    link = config_dir / LINK
    if (link.exists() or link.is_symlink()) and not replace:
        raise Failure(
            f"{link}: this machine is enrolled already; --replace gives it new keys, and the old ones are revoked"
        )
    if link.exists() and not link.is_symlink():
        raise Failure(f"{link}: is not a link as enrolment makes it; move it away")
    if not os.access(config_dir, os.W_OK | os.X_OK):
        raise Failure(f"{config_dir}: not a folder that this user may write; run as root, or name another --config-dir")


def put_down(enrolled: Enrolled, config_dir: Path, node: str, user: str | None) -> str:
    """Write keys, certificates, trust document and settings; return what is left to be done by hand, if anything.

    Args:
        enrolled: What the node has.
        config_dir: Usually ``/etc/evenwatt``.
        node: Its name.
        user: Who runs the agent and so reads the key for TLS; None for this user.

    Raises:
        Failure: something cannot be written; then nothing has changed.
    """
    config_dir = config_dir.resolve()  # what stands in settings must not depend on where the daemon is started
    folder = config_dir / f"{LINK}-{key_id(enrolled.public).hex()}"
    link = config_dir / LINK
    before = config_dir / link.readlink() if link.is_symlink() else None
    try:
        _fill(folder, enrolled, _uid(user))
        turned = config_dir / f".{LINK}.new"
        turned.unlink(missing_ok=True)
        turned.symlink_to(folder.name)
        turned.replace(link)
        sync_folder(config_dir)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise Failure(f"{error.filename or folder}: {error.strerror}; nothing was changed here") from None
    if before is not None and before.parent == config_dir and before != folder:
        shutil.rmtree(before, ignore_errors=True)
    return _change_settings(config_dir, enrolled, node)


def _fill(folder: Path, enrolled: Enrolled, uid: int | None) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    joined = enrolled.joined
    for name, content, mode in (
        (KEY, enrolled.key, 0o600),
        (TLS_KEY, enrolled.tls_key, 0o600),
        (CERTIFICATE, joined.certificate, 0o644),
        (CA, joined.ca, 0o644),
        (ROOT, joined.root, 0o644),
        (TRUST, joined.trust, 0o644),
    ):
        write_file(folder / name, content, mode)
    if uid is not None:
        os.chown(folder / TLS_KEY, uid, -1)
    sync_folder(folder)


def _uid(user: str | None) -> int | None:
    """Only root may give a file away; elsewhere everything is this user's."""
    if user is None or os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _change_settings(config_dir: Path, enrolled: Enrolled, node: str) -> str:
    joined, link = enrolled.joined, config_dir / LINK
    values: dict[tuple[str, str], str | int] = {
        ("", "fleet"): joined.fleet,
        ("", "zone"): joined.zone,
        ("", "node"): node,
        ("mqtt", "host"): joined.broker_host,
        ("mqtt", "port"): joined.broker_port,
        ("mqtt", "ca_file"): str(link / CA),
        ("mqtt", "cert_file"): str(link / CERTIFICATE),
        ("mqtt", "key_file"): str(link / TLS_KEY),
        ("control", "private_key"): str(link / KEY),
        ("control", "trust"): str(link / TRUST),
        ("control", "root"): str(link / ROOT),
    }
    path = config_dir / SETTINGS
    try:
        text = path.read_text() if path.exists() else ""
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        write_file(path, changed(text, values).encode(), mode)
    except (OSError, UnicodeDecodeError, ChangeError) as error:
        lines = "\n".join(
            f"  {table + '.' if table else ''}{key} = {value!r}" for (table, key), value in values.items()
        )
        return f"{path} was not changed ({error}); set there by hand:\n{lines}"
    return ""
