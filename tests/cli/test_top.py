"""top: on a real terminal against a real collector, and its parts on their own."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.widgets import Static

from evenwatt_cli.live.fleet import FleetView
from evenwatt_cli.live.sse import Said
from evenwatt_cli.operator_settings import load
from evenwatt_cli.status import ask_collector
from evenwatt_cli.top.app import CloseUp, Help, Top
from evenwatt_cli.top.columns import Order, columns, heading, line, ordered
from evenwatt_cli.top.drawing import chart, gauge, spark
from evenwatt_cli.top.header import connection, labelled_chart, past, zone_lines
from evenwatt_cli.top.sources import from_agent, from_collector, past_of, work_of
from evenwatt_cli.top.table import NodeTable
from evenwatt_wire import Kind
from tests.cli.terminal import Office, evenwatt, on_terminal, when_well
from tests.collector.middle import speaking, stop
from tests.collector.said import live
from tests.site import NODE, Site
from tests.support import eventually, wait_for

pytestmark = pytest.mark.timeout(600)  # real processes, which a busy machine starts slowly
watts = st.one_of(st.none(), st.floats(0, 1e5))


def node(name, zone="hall", **fields):
    base = {
        "zone": zone, "node": name, "state": "ready", "power_w": 100.0, "cap_w": 200.0, "energy_j": 7200.0,
        "emissions_g": 1.0, "emissions_g_per_h": 10.0, "quality": "measured", "paused": [], "silent": False,
        "age_s": 0.5, "lease": "leased", "lease_by": "controller", "ceiling_w": 400.0, "at_cap": False,
    }  # fmt: skip
    return base | fields


def zone_row(name="hall", **fields):
    base = {
        "zone": name, "power_w": 100.0, "budget_w": 400.0, "band": "normal", "emissions_g_per_h": 10.0,
        "intensity_g_per_kwh": 100.0, "intensity_standing": "measured", "alarms": [], "linked": True, "silent": 0,
    }  # fmt: skip
    return base | fields


def fleet(*rows, zones=()):
    view = FleetView()
    view.apply([Said("zones", row) for row in zones or [zone_row()]] + [Said("nodes", row) for row in rows], 0.0)
    return view


def words(pieces):
    return "".join(text for text, _ in pieces)


@given(st.lists(st.tuples(watts, watts), max_size=60), st.integers(1, 40), st.integers(1, 9))
def test_drawings_are_exactly_as_large_as_asked(past_, width, height):
    lines, top_w = chart(past_, width, height)
    assert [len(words(pieces)) for pieces in lines] == [width] * height
    assert top_w >= max((value for value, _ in past_[-width:] if value is not None), default=0)
    assert len(words(spark(past_, width, 100.0))) == width
    for value, cap_w in past_:
        assert len(words(gauge(value, cap_w, 100.0, width))) == width


def test_the_cap_is_a_line_and_what_is_above_it_is_red():
    lines, _ = chart([(50.0, 100.0), (98.0, 100.0), (150.0, 100.0), (None, None)], 4, 8)
    assert "─" in words(lines[3])
    red = {text for pieces in lines for text, style in pieces if style == "bold red"}
    assert red
    assert words(lines[-1])[3] == "·", "not heard is not zero"


@given(st.integers(8, 200), st.booleans(), st.lists(st.text("abc-1", min_size=1, max_size=40), min_size=1, unique=True))
def test_a_row_fits_its_width_and_all_have_the_same(width, several, names):
    view = fleet(*(node(name) for name in names))
    shown = columns(width, list(view.nodes.values()), zones=several)
    lengths = {len(words(line(thing, shown, view, 1.0))) for thing in view.nodes.values()}
    assert lengths == {len(words(heading(shown, Order())))}
    assert lengths.pop() <= width


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (node("n", silent=True, age_s=12.0), "silent 13s"),
        (node("n", state="lost"), "lost"),
        (node("n", state="disconnected"), "disconnected"),
        (node("n", paused=["batch"]), "paused"),
        (node("n", lease="fallback"), "fallback"),
        (node("n", at_cap=True), "at cap"),
    ],
)
def test_the_state_says_in_words_how_a_node_stands(row, said):
    view = fleet(row)
    (thing,) = view.nodes.values()
    standing = view.standing(thing, 1.0)
    assert standing.words == said
    shown = columns(80, [thing], zones=False)
    styles = {style for text, style in line(thing, shown, view, 1.0) if text.strip() and text.strip() != said}
    assert ("bright_black" in styles) == (not standing.fresh), "what is old is grey"


def test_without_a_connection_everything_is_old_and_a_cut_off_zone_is_said():
    view = fleet(node("a"), node("b", zone="shed"), zones=[zone_row(), zone_row("shed", linked=False)])
    assert view.standing(view.nodes["shed", "b"], 1.0).words == "cut off"
    view.lost("the collector has stopped", 5.0)
    assert view.standing(view.nodes["hall", "a"], 9.0).words == "old 9s"
    assert "reconnecting for 4s" in words(connection(view, "here", 9.0))
    view.second(9.0)
    assert view.nodes["hall", "a"].past[-1] == (None, None)
    view.opened(20.0)
    view.apply([Said("nodes", node("a"))], 21.0)
    view.second(30.0)
    assert list(view.nodes) == [("hall", "a")], "what is not told again is no more"


def test_order_filter_and_zone():
    view = fleet(
        node("a", power_w=1.0, energy_j=9e6), node("b", power_w=None), node("c", power_w=5.0, zone="shed", silent=True)
    )

    def names(order=Order(), wanted="", zone=None):  # noqa: B008
        return "".join(thing.row["node"] for thing in ordered(view, order, wanted, zone, 0.0))

    assert names() == "cab"
    assert names(Order(turned=True)) == "bac"
    assert names(Order("ENERGY"))[0] == "a"
    assert names(Order("STATE"))[0] == "c"
    assert names(Order("NODE", turned=True)) == "cba"
    assert names(wanted="shed") == "c"
    assert names(zone="hall") == "ab"


def test_what_was_before_stands_in_front_of_what_is_seen():
    view = fleet(zones=[zone_row("hall", power_w=90.0), zone_row("shed")])
    view.second(1.0)
    samples = {
        "at_s": [700.0, 705.0, 900.0, 905.0],
        "power_w": [1.0, 2.0, None, 4.0],
        "budget_w": [None, 9.0, 9.0, 9.0],
    }
    view.seed({"zone": "hall", "step_s": 5.0, **samples})
    seconds = list(view.zones["hall"].past)
    assert len(seconds) == 206
    assert seconds[:14] == [(1.0, None)] * 5 + [(2.0, 9.0)] * 9
    assert seconds[14:200] == [(None, None)] * 186, "nothing is made up where there are no samples"
    assert seconds[-6:] == [*[(None, 9.0)] * 5, (90.0, 400.0)]
    view.seed({"zone": "gone", "step_s": 5.0, **samples})
    view.seed({"zone": "shed", "step_s": 5.0, "at_s": [], "power_w": [], "budget_w": []})
    assert len(view.zones["shed"].past) == 1


def test_zones_inside_others_are_not_added_twice():
    view = fleet(
        zones=[zone_row("hall", inside=["row"], power_w=90.0), zone_row("row", power_w=60.0), zone_row("shed")]
    )
    view.second(1.0)
    assert past(view, None) == ([(190.0, 800.0)], "fleet")
    assert past(view, "row") == ([(60.0, 400.0)], "row")
    assert len(labelled_chart(*past(view, None), (60, 5))) == 5
    assert "2 more zones" in words(zone_lines(view, None, 80, 2)[-1])


@pytest.fixture
def office(tmp_path, broker):
    return Office(tmp_path, broker.port)


@asynccontextmanager
async def busy(office):
    with office.run() as child:
        await office.ready()
        async with speaking(office) as n1, speaking(office, "n2") as n2:
            for each, power_w in ((n1, 150.0), (n2, 250.0)):
                await each.join()
                each.start_speaking(power_w)
            await eventually(lambda: len(office.status()["nodes"]) == 2, "both are known")
            await eventually(lambda: all(row["power_w"] for row in office.status()["nodes"]), "both speak")
            yield child, n1


async def test_on_a_terminal_it_is_live_survives_the_collector_and_ends_by_signal(office):
    async with busy(office) as (child, _), on_terminal("top", *office.config_option, columns=60, rows=16) as terminal:
        await terminal.shows("live")
        await terminal.shows("250 W")
        terminal.resize(110, 36)
        await terminal.shows("CO2e/h")
        terminal.forget()
        assert stop(child) == 0
        await terminal.shows("reconnecting for")
        await terminal.shows("old ")
        with office.run():
            await office.ready()
            terminal.forget()
            await terminal.shows("live")
            terminal.child.send_signal(signal.SIGTERM)
            assert await terminal.ends() == 0
            assert "\x1b[?1049l" in terminal.raw, "the screen is given back"


async def test_ways_to_end(office):
    with office.run():
        await office.ready()
        ends = ("q", "\x03", signal.SIGINT)
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(on_terminal("top", *office.config_option)) for _ in ends]
            for terminal, end in zip(opened, ends, strict=True):
                await terminal.shows("no node has been heard yet")
                terminal.type(end) if isinstance(end, str) else terminal.child.send_signal(end)
                assert await terminal.ends() == 0


async def test_keys(office):
    async with busy(office) as (_, n1):
        settings, view = load(office.person), FleetView()
        view.take(ask_collector(settings), 0.0)
        assert (await past_of(settings, "hall"))["power_w"]
        assert await past_of(settings, "cellar") is None
        app = Top(
            view, partial(from_collector, settings), settings.collector_url, partial(work_of, settings),
            partial(past_of, settings),
        )  # fmt: skip
        async with app.run_test(size=(100, 30)) as pilot:
            table = app.query_one(NodeTable)
            await eventually(lambda: len(view.nodes) == 2, "both are heard")
            await eventually(lambda: len(table._rows) == 2, "both are drawn")

            def order():
                return [thing.row["node"] for thing in table._rows]

            assert order() == ["n2", "n1"]
            await pilot.press("P")
            assert order() == ["n1", "n2"]
            await pilot.press("n")
            assert (table.order.key, order()) == ("NODE", ["n1", "n2"])
            await pilot.press("left")
            assert table.order.key == "CO2e/h"
            await pilot.press("slash", "n", "2", "enter")
            assert order() == ["n2"]
            await pilot.press("enter")
            assert isinstance(app.screen, CloseUp)
            shown = app.screen.query_one("#close-up", Static)
            await eventually(lambda: "bounds" in str(shown.render()), "the node is drawn")
            assert "hall:n2" in str(shown.render())
            await pilot.press("escape", "escape")
            assert len(order()) == 2
            await pilot.press("question_mark")
            assert isinstance(app.screen, Help)
            await pilot.press("escape", "space")
            before = view.nodes["hall", "n1"].heard_s
            await n1.say(live(seq=10**7, power_w=1.0), Kind.LIVE)
            await eventually(lambda: view.nodes["hall", "n1"].heard_s > before, "it hears on while it is held")
            await pilot.press("q")
        assert app.return_code == 0


async def test_thousands_of_nodes_draw_only_what_is_seen():
    view = fleet(*(node(f"n{number:04}", power_w=float(number)) for number in range(3_000)))

    async def silent(_view, _heard):
        await asyncio.sleep(3_600)

    async def before(zone):
        return {"zone": zone, "step_s": 5.0, "at_s": [100.0, 105.0], "power_w": [7.0, 8.0], "budget_w": [9.0, 9.0]}

    app = Top(view, silent, "here", before=before)
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(NodeTable)
        await eventually(lambda: view.zones["hall"].past[0] == (7.0, 9.0), "what was before is drawn")
        drawn = []
        real = table.render_line
        table.render_line = lambda y: (drawn.append(y), real(y))[1]
        app.draw()
        await pilot.press("end")
        await pilot.pause()
        assert table._rows[table._cursor].row["node"] == "n0000"
        assert table.scroll_offset.y > 2_900
        assert max(drawn) < 24
        await pilot.press("home")
        assert table._rows[table._cursor].row["node"] == "n2999"


async def test_a_node_alone_by_its_own_socket(tmp_path, broker):
    site = Site(tmp_path, broker.port)
    (tmp_path / "operator.toml").write_text(
        f'collector_url = "http://127.0.0.1:9"\nsocket = "{tmp_path / "run" / "agent.sock"}"\n'
    )
    config = ("--config", str(tmp_path / "operator.toml"))
    with site.twin():
        site.await_twin()
        with site.agent():
            wait_for((tmp_path / "run" / "agent.sock").exists, "the agent is there")
            settings, view = load(Path(config[1])), FleetView()
            follow = asyncio.ensure_future(from_agent(settings, view, lambda: None))
            await eventually(lambda: ("hall", NODE) in view.nodes, "the node is heard")
            await eventually(lambda: view.nodes["hall", NODE].row["domains"], "its counters are told", 60)
            follow.cancel()
            code, out, err = await when_well("top", "--once", *config)
            assert code == 0, err
            assert NODE in out


async def test_without_a_terminal_one_clear_error_or_one_plain_frame(office):
    async with busy(office):
        code, _, err = await evenwatt("top", *office.config_option)
        assert code == 2
        assert err.startswith("evenwatt: top needs a terminal; elsewhere use `evenwatt top --once`")
        assert len(err.splitlines()) == 1
        code, out, _ = await when_well("top", "--once", *office.config_option, COLUMNS="60", FORCE_COLOR="")
        assert code == 0
        assert "\x1b" not in out
        assert max(map(len, out.splitlines())) <= 60
        assert [row.split()[0] for row in out.splitlines()[-2:]] == ["n2", "n1"]
    code, _, err = await evenwatt("top", "--once", *office.config_option)
    assert code == 1
    assert "does not answer" in err
