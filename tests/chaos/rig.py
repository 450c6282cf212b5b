"""A small fleet of real processes: broker, machines whose truth is known, agents, one or two collectors."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
import time
from contextlib import ExitStack, closing
from itertools import pairwise
from math import fsum

import httpx

from evenwatt_twin.truth import Truth, over_budget
from evenwatt_wire import Kind, Topic, decode
from tests.support import Mosquitto, eventually, free_port, make_key, make_trust, process, wait_for

ZONE = "hall"
BUDGET_PER_NODE_W = 270.0
FALLBACK_W = 230.0
RESERVE_W = 45.0
"""Of a node's cap, set aside for what its two limits do not reach."""
TOLERANCE = 0.002
"""Of energy: what a reading may be off its time stamp on a busy machine, over a run of some seconds."""

_ACTS = {"active", "alone"}


class Rig:
    """Everything that a row of the failure table breaks, in one folder.

    Args:
        folder: An empty one.
        nodes: How many machines, or the zone of each by its name.
        pair: Two collectors, ``a`` and ``b``, instead of one, ``a``.
        database: A URL; else a file.
    """

    HOST = "127.0.0.1"
    """Where everybody finds the broker."""

    def __init__(self, folder, *, nodes=2, pair=False, database=None, preset="xeon_2s"):
        self.folder, self.pair = folder, pair
        self.broker = self.make_broker()
        self.zones = {f"m{i + 1}": ZONE for i in range(nodes)} if isinstance(nodes, int) else nodes
        self.names = list(self.zones)
        self.budget_w = BUDGET_PER_NODE_W * len(self.zones) / len(set(self.zones.values()))
        self.database = database or str(folder / "shared" / "collector.db")
        (folder / "shared").mkdir()
        self.stack = ExitStack()
        # One for all: making one costs more than asking with it. Connections are new each time, as collectors die.
        self._web = httpx.Client(timeout=10, verify=False, headers={"Connection": "close"})  # noqa: S501  plain HTTP
        self.stack.callback(self._web.close)
        self.children = {}
        self.http = {name: free_port() for name in self.name_collectors()}
        self.ports = dict.fromkeys(self.names, self.broker.port)
        self.machine = {"preset": preset}
        self.ledger_s = 1.0
        keys = [{"public": make_key(folder / "controller.pem")[1], "role": "controller"}]
        for name, zone in self.zones.items():
            public = make_key(folder / f"{name}.pem")[1]
            keys.append({"public": public, "role": "node", "node": name, "zone": zone})
        self.ring = make_trust(folder, keys)
        for name in self.http:
            self.write_collector(name)
        for name in self.names:
            self.write_agent(name)

    def __enter__(self):
        self.broker.start()
        return self

    def __exit__(self, *error):
        self.stack.close()
        self.broker.kill()

    def make_broker(self):
        return Mosquitto(self.folder)

    # --- settings -------------------------------------------------------------------------------------------------

    def name_collectors(self):
        return "ab" if self.pair else "a"

    def mqtt(self, port):
        """Return how the broker is found, by who uses that port."""
        return f'host = "{self.HOST}"\nport = {port}'

    def role(self, name):
        """Return the tables that say what a collector is beside others."""
        return f'[standby]\nname = "{name}"' if self.pair else ""

    def steered(self, _name):
        """Return the zone that a collector steers."""
        return ZONE

    def write_collector(self, name, more="", *, http=""):
        folder = self.folder
        (folder / f"collector-{name}.toml").write_text(f"""
fleet = "f"
state_dir = "{folder / name}"
database = {json.dumps(self.database)}
[mqtt]
{self.mqtt(self.broker.port)}
keepalive_s = 5
[http]
port = {self.http[name]}
{http}
[keys]
private_key = "{folder / "controller.pem"}"
trust = "{folder / "trust.json"}"
root = "{folder / "root.pub"}"
[log]
style = "json"
{self.role(name)}
[[zones]]
name = "{self.steered(name)}"
grid = "DE"
budget_w = {self.budget_w}
{more}""")

    def write_agent(self, name, more=""):
        folder = self.folder
        (folder / f"agent-{name}.toml").write_text(f"""
fleet = "f"
zone = "{self.zones[name]}"
node = "{name}"
state_dir = "{folder / f"state-{name}"}"
runtime_dir = "{folder / f"run-{name}"}"
[mqtt]
{self.mqtt(self.ports[name])}
keepalive_s = 5
[sources]
sysfs = "{folder / "twin" / name / "sys"}"
[report]
ledger_s = {self.ledger_s}
summary_s = 1.0
[control]
enabled = true
private_key = "{folder / f"{name}.pem"}"
trust = "{folder / "trust.json"}"
root = "{folder / "root.pub"}"
fallback_w = {FALLBACK_W}
require_synchronised_clock = false
{more}""")

    # --- processes ------------------------------------------------------------------------------------------------

    def twin(self, **fields):
        """Start the machines; each has a load that would take more than its share of the budget."""
        spec = {
            "machines": [
                {"id": name, **self.machine, "profile": {"kind": "steady", "load": 0.95}, **fields.get(name, {})}
                for name in self.names
            ]
        }
        path, log = self.folder / "twin.json", self.folder / "twin.log"
        path.write_text(json.dumps(spec))
        self._start("twin", "evenwatt_twin", str(path), "--dir", str(self.folder / "twin"), "--step-ms", "10")
        wait_for(lambda: log.exists() and '"ready": true' in log.read_text(), "the machines are there")

    def collector(self, name="a", **environment):
        return self._start(name, "evenwatt_collector", "--config", str(self.folder / f"collector-{name}.toml"),
                           **environment)  # fmt: skip

    def agent(self, name, *, prefix=(), **environment):
        return self._start(f"agent-{name}", "evenwatt_agent", "--config", str(self.folder / f"agent-{name}.toml"),
                           prefix=prefix, **environment)  # fmt: skip

    def actuator(self, node):
        """Start the actuator of a node whose agent works through one."""
        return self._start("actuator", "evenwatt_agent.actuator", "--config", str(self.folder / f"agent-{node}.toml"))

    async def begin(self, *, twin=True):
        """Start all and wait until every node holds a lease."""
        if twin:
            self.twin()
        for name in self.http:
            self.collector(name)
        for name in self.names:
            self.agent(name)
        await self.leased()

    def _start(self, name, module, *arguments, prefix=(), **environment):
        command = [*prefix, sys.executable, "-m", module, *arguments]
        child = self.stack.enter_context(process(command, self.folder / f"{name}.log", **environment))
        self.children[name] = child
        return child

    def kill(self, name):
        child = self.children[name]
        child.kill()
        child.wait()

    def stop(self, name):
        """Ask a process to end, and return its exit code."""
        child = self.children[name]
        child.send_signal(signal.SIGTERM)
        return child.wait(60)

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    # --- looking --------------------------------------------------------------------------------------------------

    def status(self, name="a"):
        """Return a collector's status document, or None while it does not answer."""
        try:
            return self._web.get(f"http://127.0.0.1:{self.http[name]}/api/v1/status").json()
        except (httpx.HTTPError, ValueError):
            return None

    def said(self, name="a"):
        """Return the status document of a collector that answers, if late."""
        return wait_for(lambda: self.status(name), f"collector {name} answers")

    def active(self):
        """Return the name of the collector that is active, or None."""
        return next((name for name, said in self._heard() if said["role"] in _ACTS), None)

    def rows(self):
        """Return the nodes as the active collector sees them, by name."""
        nodes = next((said["nodes"] for _, said in self._heard() if said["role"] in _ACTS), [])
        return {row["node"]: row for row in nodes}

    def _heard(self):
        return ((name, said) for name in self.http if (said := self.status(name)))

    async def leased(self, timeout_s=60.0):
        def all_leased():
            rows = self.rows()
            return all(rows.get(name, {}).get("lease") == "leased" for name in self.names)

        await eventually(all_leased, "every node holds a lease", timeout_s)
        await eventually(lambda: not any(map(self.at_fallback, self.names)), "leases are above the fallback", timeout_s)

    async def until_stored(self, mono_ns=None, timeout_s=60.0):
        """Wait until every node's ledger is stored up to a moment of this machine's monotonic clock; default: now."""
        mono_ns = mono_ns or time.monotonic_ns()

        def stored():
            rows = self.rows()
            return all(max((end for _, end in rows.get(name, {}).get("covered_mono_ns", [])), default=0) >= mono_ns
                       for name in self.names)  # fmt: skip

        await eventually(stored, "the ledger is complete", timeout_s)

    # --- judging --------------------------------------------------------------------------------------------------

    def limits_w(self, name):
        """Return the sum of the long-term limits of a machine's packages, as the files say."""
        files = (self.folder / "twin" / name / "sys").rglob("constraint_0_power_limit_uw")
        return sum(_number(path) for path in files if path.parent.name.count(":") == 1) / 1e6

    def at_fallback(self, name):
        """Whether a machine's limits are those of its fallback, or lower."""
        return self.limits_w(name) <= FALLBACK_W - RESERVE_W + 1.0

    def records(self, name):
        """Return a node's records as the collectors' file has them, in order."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as file:
            rows = file.execute(
                "SELECT payload FROM ledger JOIN boot ON boot.id = ledger.boot JOIN node ON node.id = boot.node "
                "WHERE node.name = ?", (name,)
            ).fetchall()  # fmt: skip
        records = [decode(Topic(ZONE, name, Kind.LEDGER), bytes(payload)) for (payload,) in rows]
        return sorted(records, key=lambda record: record.start_mono_ns)

    def gaps(self, name, from_ns=0, until_ns=2**63):
        """Return what a node's records tell of not having watched between two moments."""
        return [gap for record in self.records(name) for gap in record.gaps
                if gap.end_mono_ns > from_ns and gap.start_mono_ns < until_ns]  # fmt: skip

    def truths(self):
        return {name: Truth.load(self.folder / "twin" / name / "truth.bin") for name in self.names}

    async def judge(self, *, may_lose=False):
        """Compare the ledger with the truth from its first moment to its last; return the figures.

        The truth is what the counters had shown at these moments: a twin that got no processor shows later what its
        machine drew, and says how late it was.

        Args:
            may_lose: Less may be counted, but not less than what the records cover.
        """
        await self.until_stored()
        rows, report = self.rows(), {}
        for name in self.names:
            row = rows[name]
            spans = sorted(map(tuple, row["covered_mono_ns"]))
            first_ns, last_ns = spans[0][0], max(end for _, end in spans)
            log = await self.truth_until(name, last_ns)
            true_j, late_j = shown_j(log, first_ns, last_ns)
            covered_j = fsum(shown_j(log, *span)[0] for span in spans)
            holes_s = fsum(max(0, b[0] - a[1]) for a, b in pairwise(spans)) / 1e9
            report[name] = {"counted_j": row["energy_j"], "true_j": true_j, "off_j": row["energy_j"] - true_j,
                            "holes_s": holes_s, "missing": row["missing"], "late_j": late_j}  # fmt: skip
            slack_j = TOLERANCE * true_j + 2.0
            assert row["missing"] == 0, report
            # A twin notes that a counter shows something after it does: in between it shows more than is noted.
            assert row["energy_j"] <= true_j + log.unshown_j(last_ns) + slack_j, report
            least_j = (covered_j if may_lose else true_j) - log.unshown_j(first_ns)
            assert row["energy_j"] >= least_j - slack_j, report
        return report

    async def truth_until(self, name, mono_ns):
        """Return a machine's truth when it has come to disk up to a moment; that is so once a second."""
        path = self.folder / "twin" / name / "truth.bin"

        def told():
            log = Truth.load(path)
            return log if log.mono_ns and log.mono_ns[-1] >= mono_ns else None

        return await eventually(told, f"the truth of {name} has come to disk")

    def over_budget(self, since_ns):
        """Return how far the machines really were above the zone's budget since a moment."""
        logs = list(self.truths().values())
        until_ns = min(log.mono_ns[-1] for log in logs)
        return over_budget(logs, self.budget_w, since_ns, until_ns, grid_ms=100)


def shown_j(log, from_ns, until_ns):
    """Return what counters have shown between two moments, and how much of it is from before, less what came later."""
    late_j = log.unshown_j(from_ns) - log.unshown_j(until_ns)
    return log.energy_j(from_ns, until_ns) + late_j, late_j


def _number(path):
    """Read a number from a file that is just being written: unlike one of the kernel's, it is empty for a moment."""
    return int(wait_for(path.read_text, f"{path} has a value"))
