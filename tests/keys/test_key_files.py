"""Key files and changes to a trust document: what is refused, and what comes out."""

from __future__ import annotations

import stat
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from evenwatt_agent.findings import Verdict
from evenwatt_agent.keys_check import check_trust
from evenwatt_agent.settings import load
from evenwatt_cli.keys import document
from evenwatt_cli.keys.files import is_encrypted, load_key, load_public, new_key, public_path, raw_public
from evenwatt_cli.keys.secrets import load_root, new_passphrase
from evenwatt_cli.keys.showing import span
from evenwatt_daemon import Failure
from evenwatt_wire import Role, open_trust
from evenwatt_wire.keyring import fingerprint, key_id
from tests.keys.made import CONTROLLER, NODE_2, OPERATOR, ROOT, ROOTS, private, raw, revoked, row, signed, trust
from tests.support import make_key, make_trust


def test_a_key_is_its_owners_alone_and_never_overwritten(tmp_path):
    path = tmp_path / "ada.pem"
    private = new_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_public(public_path(path)) == load_public(path) == raw_public(private) == raw_public(load_key(path))
    with pytest.raises(Failure, match="never overwritten"):
        new_key(path)
    with pytest.raises(Failure, match="its public half"):
        new_key(tmp_path / "other.pub")
    path.chmod(0o640)
    with pytest.raises(Failure, match="chmod 600"):
        load_key(path)


def test_a_root_is_encrypted(tmp_path):
    path, phrase = tmp_path / "root.pem", tmp_path / "phrase"
    phrase.write_text("correct horse\n")
    with pytest.raises(Failure, match="others may read"):
        new_passphrase(phrase)
    phrase.chmod(0o600)
    private = new_key(path, new_passphrase(phrase))
    assert is_encrypted(path)
    assert raw_public(load_root(path, phrase)) == raw_public(private)
    with pytest.raises(Failure, match="passphrase"):
        load_key(path)
    phrase.write_text("wrong horse")
    with pytest.raises(Failure, match="does not fit"):
        load_root(path, phrase)
    phrase.write_text("elevenchars")
    with pytest.raises(Failure, match="at least 12"):
        new_passphrase(phrase)
    head, pem = path.read_bytes().split(b"\n", 1)
    assert head.startswith(b"scrypt n=262144 r=8 p=1 salt=")
    with pytest.raises(ValueError, match="password"):  # the passphrase alone opens nothing: each guess costs scrypt
        load_pem_private_key(pem, b"correct horse")
    path.write_bytes(pem)
    with pytest.raises(Failure, match="keep the file whole"):
        load_key(path, b"correct horse")


def test_a_folder_that_is_absent_is_made_for_its_owner_alone(tmp_path):
    path = tmp_path / "mine" / "ada.pem"
    new_key(path)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_fingerprint_begins_with_the_id():
    said = fingerprint(raw(ROOT))
    assert said.replace(" ", "").startswith(key_id(raw(ROOT)).hex())
    assert [len(group) for group in said.split()] == [4] * 16


def test_versions_rise_by_one_for_all_changes_between_two_signatures(tmp_path):
    path = tmp_path / "trust.json"
    document.begin(path, "f")
    for key in (row(CONTROLLER, "controller", name="main"), row(OPERATOR, "operator", name="ada")):
        held, is_signed = document.read(path)
        document.edit(path, document.with_key(held, key), signed=is_signed)
    assert document.sign(path, [ROOT], 10).version == 1
    for change in (
        lambda held: document.without_keys(held, document.held_by(held, "ada")),
        lambda held: document.with_revoked(held, document.held_by(held, "main"), "x"),
    ):
        held, is_signed = document.read(path)
        assert document.edit(path, change(held), signed=is_signed).version == 2
    assert document.sign(path, [ROOT], 10).version == 2
    assert document.sign(path, [ROOT], 20).version == 3  # only a new end
    held = open_trust(path.read_bytes(), ROOTS, "f")
    assert (held.keys, held.revoked_ids) == ([], {row(CONTROLLER, "controller").id})
    with pytest.raises(Failure, match="has been revoked"):
        document.with_key(held, row(CONTROLLER, "controller", name="again"))


def test_one_key_takes_over_from_another():
    held = document.with_successor(trust(), "main", raw(NODE_2), timedelta(days=14))
    old, new = (document.find(held, held.keys[at].name) for at in (0, -1))
    assert (new.name, new.public, new.not_after) == ("main", raw(NODE_2).hex(), None)
    assert old.name.startswith("main-until-")
    assert timedelta(days=13) < old.not_after - document.now() <= timedelta(days=14)
    again = document.with_successor(held, old.name, raw(ROOT), timedelta(days=99))
    assert document.find(again, old.id.hex()[:8]).not_after == old.not_after  # no overlap makes it longer


@pytest.mark.parametrize("name", ["main", "ada", "n1"])
def test_who_leaves_takes_the_keys_of_before_the_rotations_along(name):
    held = document.with_key(trust(), row(ROOT, "operator", name="ada-until-tomorrow"))  # somebody else
    first = document.find(held, name)
    for number in (11, 12):
        held = document.with_successor(held, name, raw(private(number)), timedelta(days=14))
    gone = document.held_by(held, name)
    assert {key.id for key in gone} == {first.id, *(key_id(raw(private(number))) for number in (11, 12))}
    after = document.with_revoked(held, gone, "left")
    assert after.revoked_ids == {key.id for key in gone}
    assert len(after.keys) == len(trust().keys)
    for one in (document.held_by(held, name, only=True), document.held_by(held, gone[0].id.hex())):
        assert one == [gone[0]]
    assert document.held_by(held, gone[1].name) == [gone[1]]
    left = document.without_keys(held, [gone[0]])
    assert {key.id for key in document.held_by(left, name)} == {key.id for key in gone[1:]}


@pytest.mark.parametrize("name", ["nobody", "", "ma"])
def test_who_is_not_there_is_named_with_who_is(name):
    with pytest.raises(Failure, match="there are ada, main"):
        document.find(trust(), name)


def test_lengths_of_time():
    assert (span("14d"), span("12h"), span("0.5m")) == (timedelta(14), timedelta(hours=12), timedelta(seconds=30))
    for wrong in ("", "14", "-1d", "1y", "99999d"):
        with pytest.raises(Failure, match="not a length of time"):
            span(wrong)


def test_two_commands_do_not_change_one_document_at_once(tmp_path):
    with document.alone(tmp_path / "a.json"), pytest.raises(Failure, match="try again"), document.alone(tmp_path / "b"):
        pass


# --- what the doctor says ---------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path):
    _, public = make_key(tmp_path / "node.pem")
    keys = [{"public": public, "role": "node", "node": "n1", "zone": "hall"}]
    make_trust(tmp_path, keys)
    names = {"private_key": "node.pem", "trust": "trust.json", "root": "root.pub"}
    lines = "".join(f'{key} = "{tmp_path / name}"\n' for key, name in names.items())
    (tmp_path / "agent.toml").write_text(f'fleet = "f"\nzone = "hall"\nnode = "n1"\n[control]\nenabled = true\n{lines}')
    made = load(str(tmp_path / "agent.toml"))
    return made, tmp_path, keys


def test_the_doctor_finds_good_keys(settings):
    found = check_trust(settings[0])
    assert (found.verdict, "trust version 1 until" in found.detail) == (Verdict.FOUND, True)


@pytest.mark.parametrize("trouble", ["ends", "over", "stranger", "zone", "unsigned", "open"])
def test_the_doctor_says_what_is_wrong_with_keys(settings, trouble):
    made, folder, keys = settings
    said = {"ends": "ends in 9 days", "over": "has ended", "stranger": "is not trusted here", "zone": "this is hall/n1",
            "unsigned": "is not signed", "open": "chmod 600"}  # fmt: skip
    match trouble:
        case "ends" | "over":
            make_trust(folder, keys, version=2, days=9.5 if trouble == "ends" else -1.0)
        case "stranger":
            make_trust(folder, [], version=2)
        case "zone":
            make_trust(folder, [{**keys[0], "zone": "other"}], version=2)
        case "unsigned":
            (folder / "trust.json").write_text("{}")
        case "open":
            (folder / "node.pem").chmod(0o644)
    found = check_trust(made)
    assert found.verdict is Verdict.BROKEN
    assert said[trouble] in found.detail
    assert found.fix


def test_a_document_of_the_most_nodes_can_be_signed():
    """So many keys are what one fleet may have; the bound is said in the documentation."""
    names = [f"node-{number:05}" for number in range(5_000)]
    made = trust()
    rows = [
        type(made.keys[0])(f"{at:064x}", Role.NODE, name=name, node=name, zone="a-zone-name")
        for at, name in enumerate(names)
    ]
    assert len(open_trust(signed(rows=rows, revoked=[revoked(OPERATOR)]), ROOTS, "f").keys) == 5_000
