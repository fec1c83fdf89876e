"""Holding a lease while work runs: renewed in the background, given back at the end, free by itself after a kill."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from engine.stages.base import StageContext
from storage.catalog import Lease
from storage.errors import CatalogError, LeaseLost

RENEWALS_PER_LEASE = 3


def this_process() -> str:
    """A name for lease owners: `host:process`."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def held_lease(context: StageContext, shard: int, *, owner: str) -> Iterator[bool]:
    """Hold the lease of one shard inside the `with`; yields False when somebody else holds it.

    A lease only avoids doing work twice. Should it be lost (a machine asleep for longer than the lease), two workers do
    the same shard and put equal records, of which the first counts.
    """
    lease = _acquire(context, shard, owner)
    if lease is None:
        yield False
        return
    stop = threading.Event()
    every_s = context.settings.round.lease_s / RENEWALS_PER_LEASE
    keeper = threading.Thread(target=_keep, args=(lease, every_s, stop), daemon=True)
    keeper.start()
    try:
        yield True
    finally:
        stop.set()
        keeper.join()
        lease.release()


def _acquire(context: StageContext, shard: int, owner: str) -> Lease | None:
    """The lease, also when its holder was a process of this machine that is no more: a kill costs no waiting."""
    catalog, round_id, stage = context.home.catalog, context.round.round_id, context.stage
    ttl_s = context.settings.round.lease_s
    lease = catalog.lease(round_id, stage, shard, owner, ttl_s)
    if lease is not None:
        return lease
    for row in catalog.leases():
        if (row["round_id"], row["stage"], row["shard"]) == (round_id, stage, shard) and _is_dead(
            row["owner"]
        ):
            catalog.break_lease(round_id, stage, shard, owner=row["owner"])
    return catalog.lease(round_id, stage, shard, owner, ttl_s)


def _is_dead(owner: str) -> bool:
    """Whether the owner was a process of this machine that has ended."""
    host, _, process = owner.rpartition(":")
    if host != socket.gethostname() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _keep(lease: Lease, every_s: float, stop: threading.Event) -> None:
    while not stop.wait(every_s):
        try:
            lease.renew()
        except LeaseLost:
            return
        except CatalogError:
            continue  # the catalog is out of reach for a moment; the lease lasts three such moments
