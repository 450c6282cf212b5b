"""Of two collectors with keys of their own, the one of the lower epoch is heard no more, also after a restart."""

from __future__ import annotations

import pytest

from evenwatt_wire.command import Code, Op
from tests.agent.inside import Inside
from tests.support import make_key, make_trust


@pytest.fixture
def pair(tmp_path):
    """A node, and the key of the second collector."""
    node = Inside(tmp_path)
    second, public = make_key(tmp_path / "second.pem")
    node.keys.append({"public": public, "role": "controller"})
    node.ring = make_trust(tmp_path, node.keys)
    return node, second


def cap(node, epoch, **known):
    return node.ask(Op.CAP, cap_w=300.0, ttl_s=10.0, epoch=epoch, **known)


async def test_an_older_collector_is_refused_once_a_newer_one_steers(pair):
    node, second = pair
    async with node:
        assert (await cap(node, 5)).code is Code.APPLIED
        assert (await cap(node, 6, key=second)).code is Code.APPLIED
        assert (await cap(node, 5)).detail.startswith("stale-epoch: epoch 5 has been superseded by epoch 6")
        assert (await node.ask(Op.RELEASE, epoch=5)).code is Code.REJECTED
        assert (await cap(node, 6, key=second)).code is Code.APPLIED
    async with node:
        assert (await cap(node, 5)).detail.startswith("stale-epoch")
        assert (await cap(node, 7)).code is Code.APPLIED  # it has taken over again
        assert (await cap(node, 6, key=second)).detail.startswith("stale-epoch")
        assert (await node.ask(Op.CAP, cap_w=290.0, ttl_s=10.0, epoch=0, key=node.operator)).code is Code.APPLIED


async def test_an_epoch_of_a_key_that_counts_no_more_fences_nobody_off(pair):
    node, second = pair
    async with node:
        assert (await cap(node, 2**50, key=second)).code is Code.APPLIED
        assert (await cap(node, 5)).code is Code.REJECTED
        node.authority._keys.ring.renew(make_trust(node.folder, node.keys[:-1], version=2)._keys.values())
        assert (await cap(node, 5)).code is Code.APPLIED


async def test_a_node_that_moved_is_steered_by_the_collector_of_its_new_zone(pair):
    node, second = pair
    async with node:
        assert (await cap(node, 9, key=second)).code is Code.APPLIED
    node.write_settings(zone="elsewhere")
    async with node:
        assert (await cap(node, 5)).code is Code.APPLIED
