#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Jobs on a node: workers that come, go, fall silent and come back."""
import time

from harness import again_when, main, test, wait_until
from noderig import Node, Raw, error_of, wait_blocked


def within(limit_s):
    """A test whose workers are its own words: when the machine lets them be silent for 2.5 s they are lost, and
    what fails after so long says nothing."""
    return again_when(lambda took_s, _: took_s > limit_s and f"it took {took_s:.1f} s")


def job(c, name="j", last=99, chunk=10):
    answer = c("TTG.JOB", "CREATE", name, "FIRST", 0, "LAST", last, "CHUNK", chunk, "MAXATTEMPTS", 5)
    assert answer[:2] == [b"job", name.encode()], answer


def figures(c, name="j"):
    words = c("TTG.JOB", "STATUS", name)
    return {k.decode(): v for k, v in zip(words[::2], words[1::2])}


def join(c, worker, incarnation, slots=1, held=()):
    words = ["HELD", *held] if held else []
    answer = c("TTG.JOIN", "j", worker, incarnation, "SLOTS", slots, *words)
    return {k.decode(): v for k, v in zip(answer[::2], answer[1::2])}


def take(c, worker, incarnation, count=1):
    answer = c("TTG.TAKE", "j", worker, incarnation, "COUNT", count)
    runs = [answer[i:i + 4] for i in range(1, len(answer), 4)]
    return [(chunk + i, epoch + i) for chunk, n, epoch, _ in runs for i in range(n)]


def commit(c, worker, incarnation, leases):
    words = []
    for chunk, epoch in leases:
        words += [chunk, epoch, 5, "s", sum(range(chunk * 10, chunk * 10 + 10))]
    return c("TTG.COMMIT", "j", worker, incarnation, *words)


@test
@within(2)
def a_job_runs_to_its_end():
    node = Node()
    c = node.raw()
    job(c)
    join(c, "w", 7)
    done = 0
    while done < 10:
        leases = take(c, "w", 7, 4)
        assert leases and commit(c, "w", 7, leases)[0] == len(leases)
        done += len(leases)
    f = figures(c)
    assert f["state"] == b"finished" and f["completed"] == 10 and f["sum"] == b"4950", f
    assert take(c, "w", 7) == []
    node.kill()
    again = node.again().raw()
    assert figures(again)["sum"] == b"4950"
    assert again("DEBUG", "REPLAY") == again("DEBUG", "DIGEST")


@test
@within(2)
def a_worker_whose_unix_socket_closes_is_lost_at_once():
    node = Node()
    c, w, other = node.raw(), node.raw(), node.raw()
    job(c, chunk=100)
    join(w, "w", 1), join(other, "v", 1)
    (lease,) = take(w, "w", 1)
    other.command("TTG.TAKE", "j", "v", 1, "COUNT", 1, "BLOCK", 0)
    wait_blocked(node, 1)
    assert int(node.info("workers")) == 2
    begin = time.monotonic()
    w.close()
    assert other.read()[1] == lease[0]
    print(f"# taken over {(time.monotonic() - begin) * 1000:.1f} ms after the end of the connection")
    f = figures(c)
    assert f["workers_lost"] == 1 and f["reclaimed"] == 1, f
    assert int(node.info("workers")) == 1
    # The late commit of the old epoch is stale.
    assert commit(c, "w", 1, [lease])[0] == 0
    assert c("DEBUG", "REPLAY") == c("DEBUG", "DIGEST")


@test
@within(2)
def where_a_worker_is_survives_snapshots():
    node = Node()
    c = node.raw()
    job(c)

    def host():
        (words,) = c("TTG.WORKERS", "j")
        return dict(zip(words[::2], words[1::2]))[b"host"]
    c("TTG.JOIN", "j", "w", 1, "SLOTS", 1, "HOST", "rack 7", "HELD")
    assert host() == b"rack 7"
    c("BGSAVE")
    wait_until(lambda: b"rdb_bgsave_in_progress:0" in c("INFO"))
    node.kill()
    node = node.again()
    c = node.raw()
    assert host() == b"rack 7"
    assert c("DEBUG", "REPLAY") == c("DEBUG", "DIGEST")


@test
def over_tcp_a_worker_has_a_second_to_come_back():
    for _ in range(10):
        node = Node()
        c, w = node.raw(), node.raw(unix=False)
        job(c)
        join(w, "w", 1)
        (lease,) = take(w, "w", 1)
        begin = time.monotonic()
        w.close()
        w = node.raw(unix=False)
        held = join(w, "w", 1, held=lease)["held"]
        if time.monotonic() - begin < 1:  # or this test was too slow itself
            break
    assert held == list(lease), (held, lease)
    w.close()
    wait_until(lambda: figures(c)["workers_lost"] == 1, what="the worker to be lost")
    assert figures(c)["leased"] == 0


@test
@within(4.5)
def a_silent_worker_is_lost_and_a_beat_is_enough():
    node = Node()
    c, quiet, beating = node.raw(), node.raw(), node.raw()
    job(c)
    join(quiet, "quiet", 1), join(beating, "beating", 1)
    begin = time.monotonic()
    take(quiet, "quiet", 1), take(beating, "beating", 1)

    def lost():
        beating("TTG.BEAT", "j", "beating", 1)
        return figures(c)["workers_lost"] == 1
    wait_until(lost, what="the quiet worker to be lost")
    assert 2.5 < time.monotonic() - begin < 10
    assert figures(c)["leased"] == 1
    assert error_of(quiet, "TTG.TAKE", "j", "quiet", 1, "COUNT", 1).startswith("LOST")


@test
def who_has_just_joined_may_be_slow_to_say_more():
    """A hundred that start at once on a busy machine are; and nobody waits for what they hold."""
    node = Node()
    c, slow, mute, quiet = (node.raw() for _ in range(4))
    job(c)
    begin = time.monotonic()
    join(slow, "slow", 1), join(mute, "mute", 1)
    join(quiet, "quiet", 1), take(quiet, "quiet", 1)
    wait_until(lambda: figures(c)["workers_lost"] == 1, what="who has a chunk to be lost")
    assert error_of(quiet, "TTG.BEAT", "j", "quiet", 1).startswith("LOST")
    slow("TTG.BEAT", "j", "slow", 1)  # from here on it is like the others
    wait_until(lambda: figures(c)["workers_lost"] == 3, what="the others to be lost, too")
    assert time.monotonic() - begin >= 10
    order = [line for line in node.process.err().splitlines() if "reason=silent" in line]
    assert [w for line in order for w in line.split() if w.startswith("worker=")] == [
        "worker=quiet", "worker=slow", "worker=mute"], order


@test
@within(5)
def after_a_restart_workers_keep_their_leases_if_they_come_back():
    node = Node()
    c, w, v = node.raw(), node.raw(), node.raw()
    job(c)
    join(w, "w", 1), join(v, "v", 1)
    (mine,) = take(w, "w", 1)
    (his,) = take(v, "v", 1)
    assert figures(c)["leased"] == 2  # waits until the takes are on disk
    node.kill()
    node = node.again()
    c, w = node.raw(), node.raw()
    held = join(w, "w", 1, held=mine)["held"]
    assert held[0] == mine[0] and held[1] != 0
    assert commit(w, "w", 1, [tuple(held)])[0] == 1

    def lost():  # w, too, if this test was so slow that it came back late
        w("TTG.BEAT", "j", "w", 1)
        words = c("TTG.WORKERS", "j")
        return [dict(zip(row[::2], row[1::2]))[b"worker"] for row in words] == [b"w"]
    wait_until(lost, what="the worker that did not come back to be lost")
    assert figures(c)["leased"] == 0 and figures(c)["completed"] == 1
    # Lost, but nobody has taken the chunk since: the commit still counts.
    assert commit(c, "v", 1, [his])[0] == 1
    assert c("DEBUG", "REPLAY") == c("DEBUG", "DIGEST")


@test
@within(2)
def jobs_show_in_the_metrics():
    import urllib.request
    from harness import free_port
    port = free_port()
    node = Node("--http", f"127.0.0.1:{port}")
    c = node.raw()
    job(c)
    join(c, "w", 1)
    commit(c, "w", 1, take(c, "w", 1))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    assert 'ttg_job_completed_total{job_name="j"} 1\n' in text, text
    assert "ttg_node_workers 1\n" in text


main()
