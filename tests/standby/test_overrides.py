"""What a person asked for outlives the collector that was asked: the other one keeps to it, and ends it."""

from __future__ import annotations

import time
from contextlib import closing

import httpx
import pytest

from evenwatt_collector.storage import connect
from evenwatt_collector.storage.memory import recall
from tests.chaos.ear import listening
from tests.chaos.rig import ZONE
from tests.standby.conftest import other
from tests.support import eventually, wait_for

TOKEN = "0123456789abcdef0123456789abcdef"
CAP_W = 235.0
"""Above what the machine's owner allows at least, below its share of the budget."""
MOST_W = 1.01 * CAP_W + 1.0
"""What no knob reaches moves a little under a cap."""
BRIEF_S = 10.0


def api(rig, name, method, path="", **more):
    """Ask a collector; again while nobody confirms its lease, as on a busy machine, when it takes nothing."""
    url = f"http://127.0.0.1:{rig.http[name]}/api/v1/overrides{path}"
    headers = {"Authorization": f"Bearer {TOKEN}", **more.pop("headers", {})}

    def taken():
        answer = httpx.request(method, url, headers=headers, timeout=60, **more)
        return None if answer.status_code == 503 else answer

    return wait_for(taken, f"collector {name} takes it")


def held(rig, name):
    return api(rig, name, "GET").json()["overrides"]


def ask(rig, name, *, key=None, **wish):
    wish = {"zone": ZONE, "for_s": 3600.0, "reason": "chiller service"} | wish
    answer = api(rig, name, "POST", json=wish, headers={"Idempotency-Key": key} if key else {})
    assert answer.status_code < 300, answer.text
    return answer.json()["override"]


def caps_w(ear, node, since_s=0.0):
    """Return the caps that a node said it holds since a moment."""
    return [said.lease.cap_w for at_s, name, said in ear.windows if name == node and at_s >= since_s]


def at_most(caps):
    return bool(caps) and max(caps[-3:]) <= MOST_W


@pytest.mark.parametrize("cluster", ["sqlite"], indirect=True)
async def test_the_other_one_keeps_to_it_and_can_end_it(rig):
    (rig.folder / "tokens").write_text(f"ada act {TOKEN}\n")
    for name in rig.http:
        rig.write_collector(name, http=f'tokens = "{rig.folder / "tokens"}"')
    await rig.begin()
    first = rig.active()
    second = other(first)
    async with listening(rig) as ear:
        cap, asked_s = ask(rig, first, kind="cap", node="m1", watts=CAP_W, key="chiller-m1"), time.monotonic()
        limit = ask(rig, first, kind="limit", watts=500.0)
        brief = ask(rig, first, kind="cap", node="m2", watts=240.0, for_s=BRIEF_S)
        # Windows that ended some time after the asking: one that is heard then may be older, and low by chance.
        await eventually(lambda: at_most(caps_w(ear, "m1", asked_s + 4.0)), "the node keeps to its cap", 60)
        since_s = time.monotonic()
        rig.kill(first)
        await eventually(lambda: rig.active() == second, "the standby takes over")
        epoch = rig.said(second)["epoch"]
        kept = {one["id"]: one for one in held(rig, second)}
        assert kept[cap["id"]] == cap
        assert kept[limit["id"]] == limit
        assert ask(rig, second, kind="cap", node="m1", watts=CAP_W, key="chiller-m1") == cap  # sent twice, it is one
        await eventually(lambda: ear.first_of(epoch, "m1"), "it renews the lease")
        await eventually(lambda: brief["id"] not in {one["id"] for one in held(rig, second)}, "the brief one ends", 60)
        assert time.time() >= brief["until_s"]
        assert max(caps_w(ear, "m1", since_s)) <= MOST_W
        assert ear.dropped(since_s) == []
        for one in (cap, limit):
            assert api(rig, second, "DELETE", f"/{one['id']}").status_code == 200
        await eventually(lambda: not at_most(caps_w(ear, "m1")), "the node may draw more again")
    with closing(connect(rig.database, write=False)) as database:  # whoever is next finds none of them
        assert recall(database, f"overrides:{ZONE}") == []
