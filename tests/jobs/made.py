"""Jobs, records, decisions and outcomes for tests."""

from __future__ import annotations

import json
from itertools import count

import msgspec
from hypothesis import strategies as st

from evenwatt_collector.jobs.hosts import Host
from evenwatt_collector.jobs.known import Known
from evenwatt_collector.jobs.model import Decision, JobRecord, Option, Outcome
from evenwatt_collector.jobs.reading import Entry, read
from evenwatt_collector.jobs.spec import JobSpec
from evenwatt_wire import Template

NOW_S = 1_793_577_600.0
"""2026-11-02, midnight UTC."""
HOUR = 3600.0
ID = "0123456789ab"

TRAIN = Template(name="train", values=["epochs", "data"], interruptible=True, slots=2)
PLAIN = Template(name="nightly")
HOSTS = (
    Host(zone="hall", node="gpu-1", templates={"train": TRAIN, "nightly": PLAIN}, slots=4, live=True),
    Host(zone="hall", node="gpu-2", templates={"train": TRAIN}, slots=2, live=False),
    Host(zone="edge", node="box-1", templates={"nightly": PLAIN}, slots=1, live=True),
)


def spec(**keys):
    return msgspec.convert({"name": "nightly", "template": "nightly", "length": "45m"} | keys, JobSpec)


def known(**keys):
    return Known(**({"now_s": NOW_S, "zones": frozenset({"hall", "edge"}), "hosts": HOSTS} | keys))


def ids():
    numbers = count(1)
    return lambda: f"{next(numbers):012x}"


def entries(text, form="toml"):
    """Read a text that must be fine."""
    found = read(text if isinstance(text, bytes) else text.encode(), form, ids())
    assert found.problems == []
    return found.entries


def entry(id_=ID, **keys):
    return Entry(id_, spec(**keys))


def record(id_=ID, **keys):
    fields = {"spec": spec(), "submitted_s": NOW_S, "by": "ada", "length_s": 2700.0, "power_w": 120.0}
    return JobRecord(id=id_, **(fields | keys))


def option(name="chosen", **keys):
    fields = {"zone": "hall", "start_s": NOW_S + HOUR, "end_s": NOW_S + 2 * HOUR, "grams": 40.0, "low_g": 30.0,
              "high_g": 55.0, "cost": 0.1, "energy_kwh": 0.15, "feasible": True, "why": "cleanest"}  # fmt: skip
    return Option(name=name, **(fields | keys))


def decision(job=ID, made_s=NOW_S, **keys):
    chosen, baseline = option(), option("now", start_s=NOW_S, end_s=NOW_S + HOUR, grams=60.0, why="at once")
    return Decision(job=job, made_s=made_s, policy="carbon", chosen=chosen, baseline=baseline, **keys)


def outcome(job=ID, ended_s=NOW_S, **keys):
    fields = {"name": "nightly", "workload": "nightly", "model": "", "zone": "hall", "policy": "carbon",
              "submitted_s": NOW_S - HOUR, "energy_j": 5e5, "grams": 40.0, "predicted_g": 42.0, "predicted_low_g": 30.0,
              "predicted_high_g": 55.0, "predicted_energy_kwh": 0.14, "counterfactual_g": 60.0,
              "counterfactual_energy_j": 5e5, "counterfactual_how": "same", "late": False}  # fmt: skip
    return Outcome(job=job, ended_s=ended_s, **(fields | keys))


def as_text(problems):
    return [f"{'.'.join(map(str, p.path))}: {p.severity.value}: {p.text}" for p in problems]


# --- any job ----------------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=30).filter(
    str.strip
)
lengths = st.integers(1, 10_000).map(lambda m: f"{m}m")
speedups = st.lists(
    st.integers(1, 64), max_size=6
).map(  # in 64ths, so that every sum is exact
    lambda gains: [1 + sum(sorted(gains, reverse=True)[:i]) / 64 for i in range(len(gains) + 1)]
)


@st.composite
def documents(draw):
    """A job as its owner writes it, as a dict; it contradicts nothing."""
    raw = {"name": draw(words), "template": "nightly", "length": draw(lengths)}
    optional = {
        "workload": words, "model": words, "team": words, "phase": st.sampled_from(["train", "infer"]),
        "power_w": st.floats(0.1, 1e5), "priority": st.integers(0, 9), "retries": st.integers(0, 9),
        "speedup": speedups, "zones": st.just(["hall"]), "home": st.just("hall"),
        "data": st.fixed_dictionaries({"gb": st.floats(0, 1e4), "zone": st.just("edge")}),
        "deadline": st.just("+30d"), "earliest": st.sampled_from(["+1h", "2026-11-03T00:00:00Z"]),
        "work": st.fixed_dictionaries({"amount": st.floats(1e-3, 1e9), "unit": words}),
    }  # fmt: skip
    for key, values in optional.items():
        if draw(st.booleans()):
            raw[key] = draw(values)
    return raw


def as_json(raw):
    return json.dumps(raw).encode()
