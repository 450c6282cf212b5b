"""What is wrong with a policy is said all at once, each with its line, its key, what was found and the fix."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.policy import KnownNode, errors, misfits, parse_policy
from evenwatt_collector.policy.lines import Lines
from evenwatt_collector.policy.reading import read
from tests.policy.texts import SITE, policy, refused, warned

NAME = "a zone's has 1 to 63 of a-z, 0-9 and '-', and no '-' at its ends"
ZONE = '[[zones]]\nname = "z"\nbudget_w = 1000\n'


def test_everything_at_once():
    said = refused("""\
        dry_run = "yes"
        [[zones]]
        name = "Rack A"
        budgt_w = 3
        carbon = { grams_per_day = 0, intervall_s = 3 }
          [[zones.schedule]]
          from = 07:30:00
          to = "25:00"
          budget_w = -5
          days = ["mon", "sunday"]

          [[zones.events]]
          start = 2026-01-01T00:00:00
          end = 2026-01-01T00:00:00Z
          budget_w = nan

        [[classes]]
        nodes = ["a", 3,
          ""]
        priority = 12
        """)
    assert said == [
        'policy.toml:1: dry_run: found "yes", expected true or false',
        'policy.toml:3: zones[0].name: found "Rack A", expected a name in quotes; ' + NAME,
        "policy.toml:4: zones[0].budgt_w: unknown key; did you mean 'budget_w'?",
        "policy.toml:5: zones[0].carbon.grams_per_day: found 0, expected a number > 0.0",
        "policy.toml:5: zones[0].carbon.intervall_s: unknown key; did you mean 'interval_s'?",
        'policy.toml:7: zones[0].schedule[0].from: found 07:30:00, expected a time of day in quotes such as "07:30"',
        (
            'policy.toml:8: zones[0].schedule[0].to: found "25:00", expected a time of day in quotes such as "19:00" '
            'or "24:00"'
        ),
        "policy.toml:9: zones[0].schedule[0].budget_w: found -5, expected a number >= 0.0",
        (
            'policy.toml:10: zones[0].schedule[0].days[1]: found "sunday", expected a list of "mon", "tue", "wed", '
            '"thu", "fri", "sat", "sun"'
        ),
        "policy.toml:12: zones[0].events[0].name: missing; add name = ... with a name in quotes; " + NAME,
        (
            "policy.toml:13: zones[0].events[0].start: found 2026-01-01T00:00:00, expected a moment with its offset "
            "from UTC, without quotes, such as 2026-01-15T17:00:00+01:00"
        ),
        "policy.toml:15: zones[0].events[0].budget_w: found nan, expected a number >= 0.0",
        "policy.toml:17: classes[0].name: missing; add name = ... with a name in quotes; " + NAME,
        'policy.toml:18: classes[0].nodes[1]: found 3, expected a list of globs such as ["gpu-*"]',
        "policy.toml:20: classes[0].priority: found 12, expected a whole number from 0 (gives way first) to 9 (last)",
    ]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("zones = [\n1,\n2\n", 4, "not TOML: Unclosed array"),
        ("a = 1\nb = = 2\n", 2, "not TOML at column 5"),
        ("zones = 3\n", 1, "zones: found 3, expected an array of tables; write [[zones]]"),
        ("[classes]\nname = 'a'\n", 1, "expected an array of tables; write [[classes]]"),
        ("", None, "zones: there is no zone; write [[zones]] with a name and a budget_w"),
        (ZONE + "\n" + ZONE, 6, "zones[1].name: zone 'z' stands twice"),
        (ZONE + 'parent = "y"\n', 4, "zones[0].parent: 'y' is no zone of this file; the others are none"),
        (ZONE + 'parent = "z"\n', 4, "zones in a loop: z in z"),
        (
            '[[zones]]\nname="a"\nparent="b"\n[[zones]]\nname="b"\nparent="c"\n[[zones]]\nname="c"\nparent="a"\n',
            3,
            "zones in a loop: a in b in c in a; leave the parent of the outermost one out",
        ),
        (
            ZONE + '[[zones]]\nname = "in"\nparent = "z"\nbudget_w = 1001\n',
            7,
            "zones[1].budget_w: 1001 W is above the 1000 W of zone 'z' around it",
        ),
        (ZONE + "unmanaged_w = 1000\n", 4, "zones[0].unmanaged_w: 1000 W of unmanaged load"),
        (ZONE + '[[zones.schedule]]\nfrom="08:00"\nto="08:00"\nbudget_w=5\n', 6, "from 08:00 to 08:00 is empty"),
        (ZONE + '[[zones.schedule]]\nfrom="08:00"\nto="09:00"\nbudget_w=5\ndays=[]\n', 8, "the list is empty"),
        (
            ZONE + '[[zones.schedule]]\nfrom="08:00"\nto="09:00"\nbudget_w=5\ntimezone="Mars"\n',
            8,
            "'Mars' is no time zone of this machine",
        ),
        (
            ZONE + '[[zones.events]]\nname="e"\nstart=2026-01-01T10:00:00Z\nend=2026-01-01T10:00:00Z\nbudget_w=5\n',
            7,
            "2026-01-01T10:00:00Z is not after the start",
        ),
        (
            ZONE
            + '[[zones.events]]\nname="e"\nstart=2026-01-01T10:00:00Z\nend=2026-01-01T12:00:00Z\nbudget_w=5\n'
            + '[[zones.events]]\nname="f"\nstart=2026-01-01T11:59:59Z\nend=2026-01-01T13:00:00Z\nbudget_w=6\n',
            13,
            "6 W contradicts 5 W of event 'e' at the same time",
        ),
        ('[[zones]]\nname="z"\n[zones.carbon]\ngrams_per_day=5\n', 3, "needs a budget_w in this zone"),
        (ZONE + '[[classes]]\nname="c"\nnodes=["*"]\nfloor_w=9\nceiling_w=8\n', 7, "9 W is above ceiling_w, 8 W"),
        (ZONE + '[[classes]]\nname="c"\nnodes=["*"]\nfloor_w=1001\n', 7, "above the lowest limit of its zone, 1000 W"),
        (ZONE + '[[classes]]\nname="c"\nnodes=["*"]\nzone="y"\n', 7, "'y' is no zone of this file"),
        (ZONE + '[[classes]]\nname="c"\nnodes=["*"]\non_lost="run"\n', 7, 'expected "fallback", "hold" or "restore"'),
        (ZONE + "margin = 0.01\n", 4, "found 0.01, expected a fraction from 0.02 to 0.5"),
    ],
)
def test_refused(text, line, said):
    lines = refused(text)
    where = "policy.toml: " if line is None else f"policy.toml:{line}: "
    assert any(one.startswith(where) and said in one for one in lines), lines


def test_events_one_after_the_other_do_not_contradict():
    event = '[[zones.events]]\nname="{}"\nstart=2026-01-01T{}:00:00Z\nend=2026-01-01T{}:00:00Z\nbudget_w={}\n'
    policy(ZONE + event.format("e", 10, 12, 5) + event.format("f", 12, 13, 6))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[zones]]\nname = "z"\n', "no zone has a limit"),
        (
            ZONE + '[[zones.schedule]]\nfrom="08:00"\nto="09:00"\nbudget_w=1000\n',
            "policy.toml:7: warning: zones[0].schedule[0].budget_w: 1000 W is not below",
        ),
        (ZONE + '[[classes]]\nname="c"\nnodes=["*"]\ntargets=["x"]\n', "has no effect, since pausable is false"),
        (
            ZONE + '[[classes]]\nname="c"\nnodes=["*"]\n[[classes]]\nname="d"\nnodes=["gpu-*"]\n',
            "policy.toml:9: warning: classes[1].nodes: never reached: 'c' before it takes every node",
        ),
        ('on_lost = "restore"\n' + ZONE, "each counts with its ceiling all the time"),
    ],
)
def test_taken_with_a_warning(text, said):
    assert any(said in warning for warning in warned(text)), warned(text)


def test_the_good_one_has_no_warning():
    assert warned(SITE) == []


class TestFleet:
    NODES = (KnownNode("rack-a", "web-1", 100, 500), KnownNode("rack-a", "gpu-1", 400, 1100))

    def said(self, text, nodes):
        found = misfits(policy(text).document, nodes)
        return [problem.words("p") for problem in found], bool(errors(found))

    def test_fits(self):
        assert self.said(SITE, self.NODES) == ([], False)

    def test_a_glob_that_matches_nothing(self):
        said, wrong = self.said(SITE.replace("web-*", "wed-1"), self.NODES)
        assert said == ["p: warning: classes[0].nodes[0]: 'wed-1' matches no node that is known; did you mean 'web-1'?"]
        assert not wrong

    def test_floors_above_the_lowest_limit_of_a_zone(self):
        # web-1's floor is raised to 300 W by its class; 8 x 400 W + 300 W is above the event's 3000 W, and rack-a's.
        nodes = [self.NODES[0], *(KnownNode("rack-a", f"gpu-{i}", 400, 1100) for i in range(8))]
        said, wrong = self.said(SITE.replace("pausable = true", "pausable = false").replace("targets", "# "), nodes)
        assert wrong
        assert len(said) == 2
        assert all("floors of 9 nodes, 3500 W, are above the zone's lowest limit of 3000 W" in one for one in said)

    def test_floors_above_a_limit_for_some_hours_pause_work_that_may_be_paused(self):
        nodes = [self.NODES[0], *(KnownNode("site", f"gpu-{i}", 400, 1100) for i in range(8))]
        said, wrong = self.said(SITE, nodes)
        assert not wrong
        assert said == [
            (
                "p: warning: zones[0]: floors of 9 nodes, 3500 W, are above the zone's lowest limit of 3000 W: while "
                "that holds, work that may be paused is paused"
            )
        ]

    def test_restored_nodes_count_with_their_ceilings(self):
        text = SITE.replace("priority = 2", 'priority = 2\non_lost = "restore"')
        nodes = [self.NODES[0], *(KnownNode("rack-a", f"gpu-{i}", 400, 1100) for i in range(3))]
        said, wrong = self.said(text, nodes)
        assert wrong
        assert 'on_lost = "restore" count with their ceilings: 3600 W' in said[0]

    def test_a_zone_that_is_not_in_the_policy(self):
        said, wrong = self.said(SITE, [*self.NODES, KnownNode("attic", "web-2", 0, 9)])
        assert not wrong
        assert "zone 'attic' with 1 known nodes does not stand here" in said[0]


class TestLines:
    def test_inline_tables_arrays_dotted_keys_and_strings_with_traps(self):
        lines = Lines(
            '# [[zones]]\na = """\n[[zones]]\nx = 1\n"""\n[[zones]] # "\nb.c = 1\nevents = [ {name = "}", y = [1,\n'
            "2]},\n  {name = 'z'} ]\n[zones.carbon]\n\"grams\" = 3\n[[zones]]\nb = 1979-05-27 07:32:00Z\nd = 1\n"
        )
        assert lines.of(("a",)) == 2
        assert lines.of(("zones", 0)) == 6
        assert lines.of(("zones", 0, "b", "c")) == 7
        assert lines.of(("zones", 0, "events", 0, "y", 1)) == 9
        assert lines.of(("zones", 0, "events", 1, "name")) == 10
        assert lines.of(("zones", 0, "carbon", "grams")) == 12
        assert lines.of(("zones", 1, "d")) == 15
        assert lines.of(("zones", 1, "missing", 3)) == 13
        assert lines.of(("nothing",)) == 0

    @given(st.lists(st.sampled_from(SITE.splitlines()), max_size=40))
    def test_any_text_is_taken_or_refused_in_words(self, rows):
        text = "\n".join(rows)
        document, problems, lines = read(text)
        assert (document is None) == bool(problems)
        count = text.count("\n") + 1
        assert all(0 <= problem.line <= count for problem in problems)
        for z, zone in enumerate(tomllib.loads(text).get("zones", []) if document else []):
            for key in zone:
                row = rows[lines.of(("zones", z, key)) - 1]
                assert key in row


def test_what_is_no_text_at_all():
    with pytest.raises(Exception, match="not TOML"):
        parse_policy(b"\xff\xfe\x00[[zones]]", "p")
