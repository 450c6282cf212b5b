"""Files of tokens, how many wrong ones are looked at, and how long a session lasts."""

from __future__ import annotations

import pytest

from evenwatt_collector.http import attempts, sessions
from evenwatt_collector.http.attempts import Attempts
from evenwatt_collector.http.sessions import Sessions
from evenwatt_collector.http.tokens import Caller, Scope, Tokens, parse_tokens
from evenwatt_daemon import Failure

TOKEN = "0123456789abcdef0123456789abcdef"
ADA = Caller("ada", frozenset({Scope.ACT}))


def test_tokens_have_names_scopes_comments_and_no_repr():
    text = f"# ours\n\nada jobs,act {TOKEN}  # laptop\nprometheus read sixteen-characters\n"
    tokens = parse_tokens(text.encode(), "t")
    ada, prometheus = tokens.caller(TOKEN), tokens.caller("sixteen-characters")
    assert (ada.name, ada.may(Scope.JOBS), ada.may(Scope.ACT), ada.may(Scope.READ)) == ("ada", True, True, True)
    assert [prometheus.may(scope) for scope in Scope] == [True, False, False]
    assert tokens.caller("") is None
    assert TOKEN not in repr(tokens)
    assert [tokens.anybody_may(scope) for scope in Scope] == [True, True, True]
    assert [Tokens().anybody_may(scope) for scope in Scope] == [False, False, False]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "t: there is no token in it; write 'NAME SCOPES TOKEN'"),
        (b"# none\n", "there is no token in it"),
        (b"a read short\n", "t:1: the token has 5 characters, expected 16 at the least"),
        (b"a cccccccccccccccc\n", "t:1: found 2 words, expected a name, scopes and a token"),
        (b"a write cccccccccccccccc\n", "t:1: found scope 'write', expected some of read, jobs, act"),
        (b"a read, cccccccccccccccc\n", "t:1: found scope ''"),
        (b"\xff\n", "t: it has characters that no token has"),
        (f"a read {TOKEN}\nb act {TOKEN}\n".encode(), "t:2: the token of 'b' stands twice"),
    ],
)
def test_a_file_of_tokens_that_cannot_be_used(text, said):
    with pytest.raises(Failure, match=said):
        parse_tokens(text, "t")


def test_guessing_is_held_up_and_an_old_token_that_is_sent_again_is_no_guess():
    tries = Attempts()
    for second in range(1_000):
        tries.wrong("10.0.0.1", "an old token", second / 100)
    assert tries.wait_s("10.0.0.1", 10.0) == 0
    for n in range(attempts.EACH):
        assert tries.wrong("10.0.0.1", f"guess {n}", 10.0)
    assert tries.wait_s("10.0.0.1", 11.0) > 0
    assert tries.wait_s("10.0.0.2", 11.0) == 0
    assert tries.wait_s("10.0.0.1", 10.1 + attempts.WINDOW_S) == 0


def test_guessing_from_many_addresses_is_held_up_for_all():
    tries = Attempts()
    for n in range(attempts.ALL):
        tries.wrong(f"10.0.{n // 8}.{n % 8}", f"guess {n}", 5.0)
    assert tries.wait_s("192.0.2.1", 6.0) > 0
    assert tries.wait_s("192.0.2.1", 6.0 + attempts.WINDOW_S) == 0


def test_a_session_ends_when_it_is_not_used_and_after_twelve_hours_in_any_case():
    open_ = Sessions()
    identity, session = open_.begin(ADA, 0.0)
    assert open_.find(identity, sessions.IDLE_S - 1).caller is ADA
    assert open_.find(identity, 2 * sessions.IDLE_S - 2) is session
    assert open_.find(identity, 4 * sessions.IDLE_S) is None
    identity, _ = open_.begin(ADA, 0.0)
    for now_s in range(0, int(sessions.LONGEST_S), int(sessions.IDLE_S) - 1):
        assert open_.find(identity, now_s)
    assert open_.find(identity, sessions.LONGEST_S) is None
    assert len(open_) == 0


def test_sessions_are_bounded_and_kept_without_their_ids():
    open_ = Sessions()
    first, _ = open_.begin(ADA, 0.0)
    second, _ = open_.begin(ADA, 0.0)
    open_.find(first, 1.0)
    for _ in range(sessions.MOST - 1):
        open_.begin(ADA, 2.0)
    assert len(open_) == sessions.MOST
    assert open_.find(second, 3.0) is None
    assert open_.find(first, 3.0) is not None
    assert first not in repr(vars(open_))
    open_.end(first)
    assert open_.find(first, 3.0) is None
