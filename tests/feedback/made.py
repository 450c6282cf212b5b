"""Jobs that ran, and what came of them."""

from __future__ import annotations

import numpy as np

from evenwatt_collector.feedback.actual import Came
from evenwatt_collector.jobs.model import Decision, JobRecord, JobState, Option, Outcome, Run
from evenwatt_collector.jobs.spec import JobSpec
from evenwatt_wire.jobs import RunState

T0 = 1_793_577_600.0
"""A Monday's midnight, UTC: 2026-11-02."""
HOUR, DAY = 3600.0, 86_400.0


def came(*g_per_kwh, pue=1.0, slot_s=HOUR, start_s=T0):
    """Intensities by the hour from T0 on."""
    return Came(start_s + slot_s * np.arange(len(g_per_kwh) + 1.0), np.array(g_per_kwh, dtype=float), pue)


def option(zone="home", kwh=1.0, grams=100.0, low=90.0, high=110.0, start_s=T0):
    return Option(
        name="chosen", zone=zone, start_s=start_s, end_s=start_s + HOUR, grams=grams, low_g=low, high_g=high, cost=0.0,
        energy_kwh=kwh, feasible=True, why="",
    )  # fmt: skip


def decision(chosen=None, baseline=None, **more):
    return Decision(
        **(
            {"job": "a" * 12, "made_s": T0, "policy": "carbon", "version": "v1"}
            | {"chosen": chosen or option(), "baseline": baseline or option()}
            | more
        )
    )


def run(start_h, hours, kwh, zone="home", state=RunState.ENDED, **more):
    start_s = T0 + HOUR * start_h
    return Run(
        id=f"{int(start_h * 100):012x}", zone=zone, node="n1", asked_s=start_s, attempt=1, state=state,
        started_s=start_s, ended_s=start_s + HOUR * hours, duration_s=HOUR * hours, energy_j=3.6e6 * kwh, **more,
    )  # fmt: skip


def job(*runs, spec=None, **more):
    """A job that was submitted at T0 and has ended with its last run."""
    return JobRecord(
        **(
            {"id": "a" * 12, "spec": JobSpec(name="night", **(spec or {})), "submitted_s": T0, "by": "me"}
            | {"state": JobState.DONE, "length_s": HOUR, "power_w": 1000.0, "runs": list(runs)}
            | {"ended_s": max((one.ended_s for one in runs), default=None), "decision": decision()}
            | more
        )
    )


def outcome(number=0, grams=80.0, counterfactual_g=100.0, **more):
    base = {
        "job": f"{number:012x}", "name": "night", "workload": "night", "model": "", "zone": "home", "policy": "carbon",
        "version": "v1", "submitted_s": T0, "ended_s": T0 + number * HOUR, "energy_j": 3.6e6, "grams": grams,
        "predicted_g": grams, "predicted_low_g": 0.9 * grams, "predicted_high_g": 1.1 * grams,
        "predicted_energy_kwh": 1.0, "counterfactual_g": counterfactual_g, "counterfactual_energy_j": 3.6e6,
        "counterfactual_how": "same", "late": False,
    }  # fmt: skip
    return Outcome(**(base | more))
