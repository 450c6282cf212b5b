"""Tokens, messages and the settings file: the pure parts of joining a fleet."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_cli.enrolment.settings_file import ChangeError, changed
from evenwatt_cli.enrolment.talk import TalkError, Wish, digest_of, pack, unpack
from evenwatt_cli.enrolment.token import LIFE_S, Token, TokenBook, TokenError, prove

PACKAGED = (Path(__file__).parents[2] / "packaging" / "agent.toml").read_text()
WISH = Wish(b"i" * 8, "n1", b"p" * 32, b"csr", b"s" * 64, b"m" * 32)
DIGEST = b"d" * 32


def book():
    return TokenBook("admin:9731", b"f" * 32)


def claim(tokens, token, *, node=None, secret=None, now_s=1.0, digest=DIGEST):
    proof = prove(secret or token.secret, b"node", DIGEST)
    return tokens.claim(token.id, node or token.node, digest, proof, now_s)


def test_a_token_is_used_once():
    tokens = book()
    token = Token.parse(str(tokens.issue("n1", "hall", 0.0)))
    assert claim(tokens, token) == token
    with pytest.raises(TokenError, match="has been used"):
        claim(tokens, token)


def test_a_token_ends_after_at_most_fifteen_minutes():
    tokens = book()
    token = tokens.issue("n1", "hall", 0.0, life_s=1e9)
    with pytest.raises(TokenError, match="has ended"):
        claim(tokens, token, now_s=LIFE_S)
    assert claim(tokens, tokens.issue("n1", "hall", 0.0), now_s=LIFE_S - 1)


def test_a_token_is_for_one_node_and_spent_by_another():
    tokens = book()
    token = tokens.issue("n1", "hall", 0.0)
    with pytest.raises(TokenError, match="given out for node 'n1', not for 'n2'"):
        claim(tokens, token, node="n2")
    with pytest.raises(TokenError, match="has been used"):
        claim(tokens, token)


def test_guessing_ends_a_token():
    tokens = book()
    token = tokens.issue("n1", "hall", 0.0)
    for _ in range(3):
        with pytest.raises(TokenError, match="was not proved"):
            claim(tokens, token, secret=b"x" * 32)
    with pytest.raises(TokenError, match="has been used, has ended"):
        claim(tokens, token)


def test_a_proof_is_for_one_conversation():
    tokens = book()
    token = tokens.issue("n1", "hall", 0.0)
    with pytest.raises(TokenError, match="was not proved"):
        claim(tokens, token, digest=b"another conversation's digest..32")


def test_a_new_token_for_a_node_makes_the_old_one_void():
    tokens = book()
    old, new = tokens.issue("n1", "hall", 0.0), tokens.issue("n1", "hall", 0.0)
    with pytest.raises(TokenError):
        claim(tokens, old)
    assert claim(tokens, new)


@given(st.text(max_size=300))
def test_no_text_is_a_token_by_chance(text):
    for attempt in (text, f"evenwatt-{text}", str(book().issue("n1", "hall", 0.0))[:-3] + text):
        try:
            Token.parse(attempt)
        except TokenError:
            continue


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(noise):
    for body in (noise, pack(WISH)[4:] + noise, pack(WISH)[4 : 4 + len(noise)]):
        try:
            unpack(body)
        except TalkError:
            continue


def test_every_part_of_a_wish_is_proved():
    import msgspec

    base = digest_of(b"f" * 32, b"n" * 32, WISH)
    assert digest_of(b"g" * 32, b"n" * 32, WISH) != base
    assert digest_of(b"f" * 32, b"m" * 32, WISH) != base
    for field, other in {"token": b"j" * 8, "node": "n2", "public": b"q" * 32, "request": b"rsc"}.items():
        assert digest_of(b"f" * 32, b"n" * 32, msgspec.structs.replace(WISH, **{field: other})) != base
    proved = msgspec.structs.replace(WISH, proof=b"0" * 32, possession=b"1" * 64)
    assert digest_of(b"f" * 32, b"n" * 32, proved) == base


VALUES = {
    ("", "fleet"): "f", ("", "node"): "n1", ("mqtt", "host"): "mq", ("mqtt", "port"): 8883,
    ("mqtt", "key_file"): "/k", ("control", "private_key"): "/p", ("control", "root"): "/r",
}  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", PACKAGED, "[control]\nenabled = true\n", "# only\n# comments", "[mqtt]\n[mqtt.more]\nx = 1\n"]
)
def test_settings_keep_all_else(text):
    result = changed(text, VALUES)
    before, after = tomllib.loads(text), tomllib.loads(result)
    for (table, key), value in VALUES.items():
        assert (after[table] if table else after)[key] == value
        (before.setdefault(table, {}) if table else before)[key] = value
    assert before == after
    assert changed(result, VALUES) == result
    comments = [line for line in text.splitlines() if line.startswith("#") and "=" not in line]
    assert [line for line in comments if line not in result] == []


def test_the_packaged_settings_keep_control_off_and_their_tables_together():
    result = changed(PACKAGED, VALUES)
    assert tomllib.loads(result)["control"]["enabled"] is False
    assert result.index('root = "/r"') < result.index("# fallback_w")


@pytest.mark.parametrize("text", ["mqtt = 3\n", "mqtt = { host = 'a' }\n", "not toml", "mqtt.host = 'a'\n"])
def test_settings_that_cannot_be_changed_safely_are_left(text):
    with pytest.raises(ChangeError):
        changed(text, VALUES)
