"""A cluster of three NATS brokers and two shards of two collectors each: how long until another one has taken over.

The processes are real, and so are the deaths (SIGKILL): tests/scale/rig.py. Each broker is killed in turn, whoever
leads JetStream among them, then the active collector of each shard. It is over when every node concerned has answered a
renewed lease; what was counted is compared with what the machines' counters really showed.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def measure() -> dict[str, Any]:
    """Return ``takeover_s`` by ``broker`` and ``collector`` (the worst), ``lost_j``, and each death in ``cluster``."""
    from tests.scale.rig import ScaleRig
    from tests.storage.databases import Cluster

    server = Cluster()
    try:
        server.start()
        with (
            tempfile.TemporaryDirectory(prefix="evenwatt-scale-") as folder,
            ScaleRig(Path(folder), server.database(), each=2, takeover_s=2.0) as rig,
        ):
            return asyncio.run(_deaths(rig))
    finally:
        server.remove()


async def _deaths(rig: Any) -> dict[str, Any]:
    from tests.scale.rig import ZONES, listening

    brokers = []
    await rig.begin()
    async with listening(rig) as ear:
        for name in rig.nats.ports:
            leads = sorted(stream for stream, leader in rig.nats.leaders().items() if leader == name)
            leases_s, records_s = await rig.kill_broker(name, ear)
            brokers.append(
                {"broker": name, "led": leads, "leases_s": round(leases_s, 2), "records_s": round(records_s, 2)}
            )
            rig.nats.start(name)
            await rig.nats.ready()
            await rig.spares(ear)
        collectors = [{"shard": shard, "leases_s": round(await rig.kill_collector(shard, ear), 2)} for shard in ZONES]
        lapsed = len(ear.dropped(0.0))
    off_j = [row["off_j"] for row in (await rig.judge()).values()]
    return {
        "takeover_s": {
            "broker": max(row["leases_s"] for row in brokers),
            "collector": max(row["leases_s"] for row in collectors),
        },
        "lost_j": round(sum(max(0.0, -off) for off in off_j), 2),
        "doubled_j": round(sum(max(0.0, off) for off in off_j), 2),
        "cluster": {"nodes": len(rig.names), "lapsed_windows": lapsed, "brokers": brokers, "collectors": collectors},
    }
