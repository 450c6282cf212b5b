"""What nodes and people write is shown as text, wherever it stands: nothing runs, nothing runs out of sight."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import aiomqtt
import httpx
import pytest

from evenwatt_wire import Event, Kind, Topic, encode
from evenwatt_wire.messages import WorkPower
from tests.collector.middle import Middle
from tests.collector.said import BOOT, ZONE, birth, live, state
from tests.support import Mosquitto, wait_for

TOKEN = "0123456789abcdef0123456789abcdef"
HTML = '<img src=x onerror="document.title=1"><script>document.title=1</script><b onclick=alert(1)>'
TURNED = "from \u202ebackwards\u2066 to the end"
LONG = "w" * 380
LINES = "one\ntwo\r\nthree\t\x00four\x1b[31mred"
ALL = (HTML, TURNED, LONG, LINES)
NODE = "evil"
VIEWS = ("fleet", "zones", f"zone/{ZONE}", f"node/{ZONE}/{NODE}", "work", "decisions", "act", "data", "score", "plan")


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    """A collector, and a node that means harm."""
    folder = tmp_path_factory.mktemp("hostile")
    broker = Mosquitto(folder).start()
    middle = Middle(folder, broker.port)
    (folder / "tokens").write_text(f"ada act {TOKEN}\n")
    zone = f'[[zones]]\nname = "{ZONE}"\ngrid = "DE"\nbudget_w = 2000\n'
    middle.write(zone=zone, http=f'tokens = "{folder / "tokens"}"')
    with middle.run():
        wait_for(lambda: answers(middle), "the collector is ready", 60)
        speak(broker.port)
        wait_for(lambda: len(middle.status()["events"]) == len(ALL), "all events are heard", 60)
        assert [ask(middle, reason) for reason in ALL] == [201, 400, 201, 400]
        yield middle
    broker.kill()


def answers(middle):
    try:
        return middle.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def speak(port):
    work = [WorkPower("workload", text[:200], 40.0) for text in ALL]
    window = live(NODE, power_w=160.0)
    window.work.extend(work)
    said = [(Kind.STATE, state(NODE)), (Kind.BIRTH, birth(NODE, controllable=False)), (Kind.LIVE, window)]
    said += [
        (
            Kind.EVENT,
            Event(NODE, BOOT, number, 1_790_000_000_000 + number, text[:60], text, [("why", text), (text, 1.0)]),
        )
        for number, text in enumerate(ALL, start=1)
    ]

    async def tell():
        async with aiomqtt.Client("127.0.0.1", port) as client:
            for kind, message in said:
                await client.publish(str(Topic(ZONE, NODE, kind)), encode(message), qos=1)

    with ThreadPoolExecutor(1) as other:  # the browser's loop runs in this thread
        other.submit(asyncio.run, tell()).result(60)


def ask(middle, reason):
    """Lower the limit for a reason; return what HTTP says. Another one of the same kind takes its place."""
    wish = {"kind": "limit", "zone": ZONE, "watts": 1500, "for_s": 600, "reason": reason[:200]}
    url = f"http://127.0.0.1:{middle.port}/api/v1/overrides"
    return httpx.post(url, json=wish, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10).status_code


@pytest.mark.parametrize("width", [1440, 360])
def test_it_is_only_text_and_the_page_holds(hall, visit, width):
    page = visit(hall.port, width=width)
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog came: {dialog.message}"))
    for view in VIEWS:
        page.goto(f"http://127.0.0.1:{hall.port}/#/{view}")
        page.wait_for_function("() => !document.querySelector('.loading') && document.querySelector('main h1')")
        if view == "decisions":
            page.locator(".decisions button.line").first.click()
        assert page.locator("main img, main script, main b[onclick]").count() == 0, view
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{view} is {wide} px too wide"
        assert page.title() != "1"
        assert "\u202e" not in page.locator("main").inner_text(), view


def test_what_turns_the_direction_of_writing_is_made_visible(hall, visit):
    page = visit(hall.port, "#/fleet")
    page.get_by_text("from \ufffdbackwards\ufffd to the end").first.wait_for()
    page.get_by_text("<script>document.title=1</script>").first.wait_for()
