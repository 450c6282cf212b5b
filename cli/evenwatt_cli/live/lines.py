"""One line for each thing that a collector tells: what happened, or how something stands now. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from evenwatt_cli.reporting.words import mass
from evenwatt_cli.units import energy, power

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_cli.live.sse import Said

Row = dict[str, Any]


def line(said: Said, now_s: float) -> str:
    """Return a message as one line, beginning with its moment in this machine's time zone."""
    tell: Callable[[Row], tuple[float | None, str]] = _KINDS.get(said.topic, _other)
    moment_s, words = tell(said.data)
    return f"{_clock(now_s if moment_s is None else moment_s)} {' '.join(words.split())}"


def about(said: Said) -> set[str]:
    """Return the names of zones and nodes that a message is about, a node also as ``ZONE:NODE``."""
    row: Row = said.data if isinstance(said.data, dict) else {}
    names = {str(row[key]) for key in ("zone", "node", "workload", "job", "id", "name") if row.get(key)}
    for place in row.get("nodes") or () if said.topic == "decisions" else ():
        names |= {place, *str(place).split(":")}
    if row.get("gone"):
        names |= {str(row["key"]), *str(row["key"]).split(":")}
    if row.get("scope"):  # of an alert: zone:NAME
        names.add(str(row["scope"]).rpartition(":")[2])
    if row.get("zone") and row.get("node"):
        names.add(f"{row['zone']}:{row['node']}")
    return names


def _clock(wall_s: float) -> str:
    return f"{datetime.fromtimestamp(wall_s).astimezone():%H:%M:%S}"


def _event(row: Row) -> tuple[float | None, str]:
    facts = ", ".join(f"{key} {value}" for key, value in row["facts"].items())
    where = f"{row['zone']}:{row['node']}" if row["node"] else row["zone"]
    words = f"event     {where}: {row['name']} {row['subject']}"
    return row["wall_ms"] / 1e3, f"{words} ({facts})" if facts else words


def _alert(row: Row) -> tuple[float | None, str]:
    advice = f"; {row['advice']}" if row["advice"] else ""
    at_s = datetime.fromisoformat(row["at"]).timestamp()
    return at_s, f"alert     {row['severity']} {row['state']}: {row['words']}{advice}"


def _decision(row: Row) -> tuple[float | None, str]:
    where = f"{row['zone']}: " if row.get("zone") else ""
    return row["wall_s"], f"decision  {where}{row['words']} [{row['kind']}]"


def _gap(row: Row) -> tuple[float | None, str]:
    lost = "nobody knows how much" if row["lost"] is None else f"{row['lost']}"
    return None, f"gap       missed here: {lost} ({row['why']})"


def _zone(row: Row) -> tuple[float | None, str]:
    if row.get("gone"):
        return None, f"zone      {row['key']} is no more"
    budget = f" of {power(row['budget_w'])}" if row["budget_w"] else ""
    alarms = f"; ! {'; '.join(row['alarms'])}" if row["alarms"] else ""
    silent = f", {row['silent']} silent" if row["silent"] else ""
    words = f"{power(row['power_w'])}{budget}, {row['band']}, {mass(row['emissions_g_per_h'])}/h"
    return None, f"zone      {row['zone']}: {words} at {row['intensity_g_per_kwh']:.0f} g/kWh{silent}{alarms}"


def _node(row: Row) -> tuple[float | None, str]:
    if row.get("gone"):
        return None, f"node      {row['key']} is no more"
    cap = f", cap {power(row['cap_w'])}" if row["cap_w"] else ""
    by = f" by {row['lease_by']}" if row["cap_w"] and row.get("lease_by") else ""
    state = "silent" if row["silent"] else row["state"]
    paused = f", paused: {', '.join(row['paused'])}" if row["paused"] else ""
    return None, (
        f"node      {row['zone']}:{row['node']}: {power(row['power_w'])}{cap}{by}, {state}, {energy(row['energy_j'])}"
        f"{paused}"
    )


def _workload(row: Row) -> tuple[float | None, str]:
    if row.get("gone"):
        return None, f"workload  {row['key']} is no more"
    words = f"{power(row['power_w'])}, {mass(row['emissions_g_per_h'])}/h on {row['nodes']}"
    return None, f"workload  {row['workload']}: {words} node{'s' * (row['nodes'] != 1)}"


def _job(row: Row) -> tuple[float | None, str]:
    if row.get("gone"):
        return None, f"job       {row['key']} is no more"
    where = f" on {row['zone']}:{row['node']}" if row["node"] else ""
    done = f" {100 * row['done']:.0f} %" if row.get("done") else ""
    late = ", late" if row["late"] else ""
    return None, f"job       {row['name']} ({row['id']}): {row['state']}{done}{where}{late}"


def _other(row: Any) -> tuple[float | None, str]:
    return None, str(row)


_KINDS: Final[dict[str, Callable[[Row], tuple[float | None, str]]]] = {
    "events": _event,
    "alerts": _alert,
    "decisions": _decision,
    "gap": _gap,
    "zones": _zone,
    "nodes": _node,
    "workloads": _workload,
    "jobs": _job,
}
