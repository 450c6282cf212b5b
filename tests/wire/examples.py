"""One example of every message. ``python -m tests.wire.examples`` writes the golden files anew: a change of format."""

from __future__ import annotations

from pathlib import Path

from evenwatt_wire import (
    Actuator,
    Birth,
    ControllerState,
    Deployment,
    Deployments,
    Domain,
    DomainEnergy,
    DomainWindow,
    Event,
    Gap,
    JobLine,
    JobList,
    JobOrder,
    LeaseInForce,
    Ledger,
    Live,
    NodeSummary,
    PartEnergy,
    Quality,
    RunReport,
    RunState,
    State,
    Stored,
    Submission,
    TaskEnergy,
    Template,
    WorkloadRate,
    WorkPower,
    ZoneSummary,
    encode,
)
from evenwatt_wire.messages import Beat, Echo, LeaseState, NodeState, Probe

BOOT = "0193582c1a00beef"
M = Quality.MEASURED

LIVE = Live(
    "n1", BOOT, 41, 1_000_000_000_000, 1_790_000_000_000, 1.0,
    DomainWindow("node", 412.5, 90_000.25, 412.5, 390.0, 440.0, 440.0, M),
    [
        DomainWindow("package-0", 380.0, 83_000.0, 380.0, 360.0, 405.0, 405.0, M),
        DomainWindow("package-0/dram", 32.5, 7_000.25, 32.5, 30.0, 35.0, 35.0, M),
    ],
    100, 1, LeaseInForce(LeaseState.LEASED, 450.0, 3, 118, 8.25),
    [WorkPower("workload", "resnet", 262.5), WorkPower("unit", "nginx.service", 33.0)],
)  # fmt: skip
LEDGER = Ledger(
    "n1", BOOT, 7, 940_000_000_000, 1_000_000_000_000, 1_789_999_940_000, 1_790_000_000_000,
    DomainEnergy("node", 24_750.0, 90_000.25, Quality.UNKNOWN),
    [
        DomainEnergy("package-0", 22_800.0, 83_000.0, M),
        DomainEnergy("package-0/dram", 1_950.0, 7_000.25, Quality.UNKNOWN),
    ],
    [Gap("package-0/dram", 950_000_000_000, 951_000_000_000, "counter was reset", Quality.UNKNOWN)],
    0.61, 0, 14.5,
    [
        PartEnergy("task", "0193582c1abe", 15_000.0, 0.0, 750.0, 410.5),
        PartEnergy("unit", "nginx.service", 2_000.0, 0.0, 0.0, 55.0),
        PartEnergy("system", "", 1_000.0, 0.0, 0.0, 0.0),
        PartEnergy("idle", "", 0.0, 0.0, 6_000.0, 0.0),
    ],
    [
        TaskEnergy(
            "0193582c1abe", "epoch-3", "resnet", "resnet50", "train", "", "running", 1_789_999_930_000, 70.0, 18_100.0,
            18_100.0, 0.0, 310.0, [("images", 51_200.0)], "vision",
        )
    ],
    5,
)  # fmt: skip
EVENT = Event("n1", BOOT, 3, 1_790_000_000_000, "lease-expired", "node", [("cap_w", 450.0), ("why", "no renewal")])
STORED = Stored(BOOT, 7, [9, 10], [(8, 8)], 50)
PROBE = Probe("00112233445566778899aabbccddeeff")
ECHO = Echo("00112233445566778899aabbccddeeff", 3)
STATE = State(node="n1", state=NodeState.READY, boot=BOOT, wall_ms=1_790_000_000_000, version="0.1.0")
BIRTH = Birth(
    node="n1", boot=BOOT, wall_ms=1_790_000_000_000, version="0.1.0",
    domains=[
        Domain(id="package-0", kind="package", source="powercap", quality=M, in_total=True, resolution_j=61e-6),
        Domain(id="package-0/dram", kind="dram", source="powercap", quality=M, parent="package-0", in_total=True),
    ],
    total_formula="package-0 + package-0/dram",
    actuators=[
        Actuator(id="powercap:package-0", kind="powercap", domain="package-0", floor_w=80, ceiling_w=205, default_w=205)
    ],
    pausable=["batch"], controllable=True, floor_w=100.5, ceiling_w=225.5, fallback_w=160.0,
    key_id="00112233445566ff",
    templates=[Template(name="train", values=["epochs"], interruptible=True, slots=2)], job_slots=4,
)  # fmt: skip
SUMMARY = NodeSummary(
    node="n1", boot=BOOT, wall_ms=1_790_000_000_000, power_w=412.5, energy_j=90_000.25, quality=M, cap_w=450.0,
    lease=LeaseState.LEASED, cost_cpu_pct=1.6, rss_mb=39.5, spooled=2, cost_w=0.4, tasks=1,
)  # fmt: skip
ZONE = ZoneSummary(
    zone="hall-1", wall_ms=1_790_000_000_000, epoch=3, band="hold", power_w=2_210.0, budget_w=2_400.0, leased_w=2_300.0,
    emissions_g_per_h=798.2, emissions_g=13.3, intensity_g_per_kwh=361.2, intensity_source="annual average 2024, Ember",
    intensity_standing="fallback", pue=1.0, nodes=8, silent=0, capped=5, alarms=[],
    workloads=[WorkloadRate(workload="resnet", power_w=1_200.0, emissions_g_per_h=433.4)],
)  # fmt: skip
BEAT = Beat(zone="hall-1", epoch=3, beat=42, name="a")
CONTROLLER = ControllerState(
    zone="hall-1", state=NodeState.READY, epoch=3, wall_ms=1_790_000_000_000, ledger="5f0c2a9d41e8b763",
    since_wall_ms=1_789_000_000_000, spread_s=2.0,
)  # fmt: skip

JOB, RUN = "0193582c1a00", "0193582c1abe"
ORDER = JobOrder(
    JOB,
    RUN,
    "train",
    [("epochs", "3")],
    "nightly",
    "resnet",
    "resnet50",
    "train",
    "vision",
    resume=True,
    limit_s=3_600.0,
)
REPORT = RunReport(
    "n1", BOOT, JOB, RUN, 12, 1_790_000_000_000, RunState.STOPPED, 310.5, 18_100.0, 0, kept=True, detail="saved",
    units=[("images", 51_200.0)], log_start=840, log="epoch 3: loss 0.41\n",
)  # fmt: skip
SUBMISSION = Submission(
    "fleet", "0123456789abcdef0123456789abcdef", 1_000_000, 1_060_000, JOB,
    '{"name":"nightly","template":"train","length":"45m"}', "alice",
)  # fmt: skip
JOBS = JobList(
    zone="hall-1", wall_ms=1_790_000_000_000, epoch=3,
    jobs=[
        JobLine(
            id=JOB, name="nightly", state="running", done_pct=40.0, node="n1", next_wall_ms=1_790_000_600_000,
            end_wall_ms=1_790_007_200_000, grams=120.5, why="the cleanest hours before the deadline",
        )
    ],
)  # fmt: skip
DEPLOYMENTS = Deployments(
    zone="hall-1", wall_ms=1_790_000_000_000, epoch=3,
    services=[
        Deployment(
            service="captions", variant="small-int8", zone="hall-1", node="n1", since_wall_ms=1_789_999_000_000,
            g_per_unit=0.0021, unit="image", why="the grid is dirty; quality stays within the bound",
        )
    ],
)  # fmt: skip

ALL = [
    ("live.msgpack", "evenwatt/v1/hall-1/n1/live", LIVE),
    ("ledger.msgpack", "evenwatt/v1/hall-1/n1/ledger", LEDGER),
    ("event.msgpack", "evenwatt/v1/hall-1/n1/event", EVENT),
    ("stored.msgpack", "evenwatt/v1/hall-1/n1/stored", STORED),
    ("probe.msgpack", "evenwatt/v1/hall-1/n1/probe", PROBE),
    ("echo.msgpack", "evenwatt/v1/hall-1/n1/echo", ECHO),
    ("state.json", "evenwatt/v1/hall-1/n1/state", STATE),
    ("birth.json", "evenwatt/v1/hall-1/n1/birth", BIRTH),
    ("summary.json", "evenwatt/v1/hall-1/n1/summary", SUMMARY),
    ("zone-summary.json", "evenwatt/v1/hall-1/_zone/summary", ZONE),
    ("controller.json", "evenwatt/v1/hall-1/_ctl/state", CONTROLLER),
    ("beat.json", "evenwatt/v1/hall-1/_ctl/beat", BEAT),
    ("jobs.json", "evenwatt/v1/hall-1/_ctl/jobs", JOBS),
    ("deployments.json", "evenwatt/v1/hall-1/_ctl/deployments", DEPLOYMENTS),
]

if __name__ == "__main__":
    for name, _topic, message in ALL:
        (Path(__file__).parent / "golden" / name).write_bytes(encode(message))
