#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Networks that cut, freeze and delay, workers that stop, disks that are full, a second collector.

See chaos_test.py, which kills; SOAK, SEED, FAULTS and CHUNKS mean the same here."""
from chaosqueues import Embedded, NodeQueue, RedisQueue
from chaosrig import NETWORK, SEED, Rig, storm
from faultrig import SmallDisk
from harness import main, run, test, wait_until
from noderig import Error


@test
def cuts_and_pauses_between_workers_and_a_node():
    storm(NodeQueue, NETWORK, through_proxy=True)


@test
def cuts_and_pauses_between_workers_and_redis():
    storm(RedisQueue, NETWORK, through_proxy=True)


@test
def a_status_that_was_long_on_its_way():
    rig = Rig(NodeQueue, SEED, chunks=2500, ms=8, through_proxy=True)
    rig.wait_lines(100)
    rig.queue.proxy.freeze_first(4)  # it was asked while the job ran, and comes after its end
    rig.finish()


@test
def pauses_of_workers_of_an_embedded_node():
    storm(Embedded, ("pause", "hang", "worker", "server"))


@test
def a_full_disk_under_the_output():
    with SmallDisk(mib=2) as disk:
        rig = Rig(NodeQueue, SEED, chunks=2000, output=disk.dir + "/out", limit=1000)
        rig.wait_lines(100)
        disk.fill()
        rig.limit(1500)  # results that there is no room for, and chunks that keep the workers
        rig.process.wait_for("output.full")
        assert rig.fault("worker")
        assert rig.fault("collector")
        rig.process.wait_for("output.full")
        disk.free()
        rig.finish()


def use_up(connection):
    """Writes until the node refuses: it has set aside the room of the log it writes to. In big
    pieces, because the job goes on meanwhile."""
    for _ in range(20):
        try:
            connection("SET", "probe", "x" * (4 << 20))
        except Error as error:
            assert "MISCONF" in str(error), error
            return
    raise AssertionError("a full disk took 80 MiB more")


def full_under_data(queue, **options):
    with SmallDisk(mib=300) as disk:
        rig = Rig(queue, SEED, chunks=6000, data=disk.dir, ms=8, limit=1000, **options)
        rig.wait_lines(100)
        for _ in range(2):
            disk.fill()
            use_up(rig.queue.connect())
            assert rig.fault("worker")
            assert rig.fault("collector")
            before = rig.lines()
            disk.free()
            rig.limit(before + 1000)
            wait_until(lambda: rig.lines() > before, what="work goes on")
        rig.finish()


@test
def a_full_disk_under_a_node():
    full_under_data(NodeQueue)


@test
def a_full_disk_under_an_embedded_node():
    full_under_data(Embedded)


@test
def a_second_collector_is_refused():
    rig = Rig(NodeQueue, SEED, chunks=1000, limit=500)
    rig.wait_lines(1)
    for _ in range(2):
        run(rig.command(), code=None, err="another process collects into", env=rig.env)
    assert rig.process.code() is None, rig.process.err()
    rig.finish()
    rig = Rig(Embedded, SEED, chunks=1000, limit=500)
    rig.wait_lines(1)
    run(rig.command(), code=3, err="another ttg run works in", env=rig.env)
    rig.finish()


main()
