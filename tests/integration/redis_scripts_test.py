#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The scripts that make a plain Redis a queue, called one by one on a real redis-server."""
import time

from harness import main, test, wait_until
from redisrig import Job, a_job, entries, error_of, pairs, pending, silence, timeless


@test
def names_and_fields_are_those_of_the_playbook():
    job = Job(timeless(), "default")
    created = job.create(25, chunk=10)
    assert created["created"] == 1 and created["chunks"] == 3, created
    assert job.create(25, chunk=10)["created"] == 0
    assert "first" in error_of(job.create, 25, chunk=10, first=5)
    (one, two, three) = entries(job)
    assert one[0] == f"{created['created_ms']}-1" and three[0].endswith("-3")
    created_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created["created_ms"] // 1000))
    assert one[1] == {"chunk_id": "00000", "start_param": "0", "end_param": "9",
                      "total_in_chunk": "10", "created_at": created_at}, one
    assert three[1]["start_param"] == "20" and three[1]["total_in_chunk"] == "5"
    assert list(two[1]) == ["chunk_id", "start_param", "end_param", "total_in_chunk", "created_at"]
    job.join("worker-0", slots=3)
    leases = job.take("worker-0", count=3)
    assert [l[0] for l in leases] == [0, 1, 2] and all(l[2] == 1 for l in leases), leases
    assert {p["consumer"] for p in pending(job)} == {b"worker-0"} and len(pending(job)) == 3
    assert job.commit("worker-0", leases) == {}
    assert pending(job) == [] and entries(job) == []
    result = job.results()[2]
    assert result["chunk_id"] == "00002" and result["worker_id"] == "worker-0"
    assert result["start_param"] == "20" and result["end_param"] == "24"
    assert result["params_processed"] == "5" and result["attempt"] == "1"
    assert result["result_summary"] == '{"sum":110,"count":5}', result
    assert result["status"] == "complete", result
    job.check()
    keys = {k.decode() for k in job.r.keys()}
    assert {"ttg:tasks", "ttg:results", "ttg:job"} <= keys, keys


@test
def a_job_does_not_touch_streams_of_others():
    job = Job(timeless(), "default")
    job.r.xadd("ttg:tasks", {"chunk_id": "00000"})
    assert "belongs to no job" in error_of(job.create, 10)
    assert job.r.xlen("ttg:tasks") == 1
    job.r.delete("ttg:tasks")
    job.create(10)


@test
def parameters_of_any_size():
    server = timeless()
    cases = [(0, 1, 1), (0, 10, 3), (-7, 15, 4), (-(1 << 63), 1 << 63, 1 << 62),
             ((1 << 63) - 10, 10, 3), (-(1 << 63), 100, 7), (-(1 << 53) - 3, 1 << 54, 1 << 52),
             ((1 << 53) - 2, 9, 2), (-5, (1 << 63) - 1, 3074457345618258603), (0, 1 << 63, 1 << 63)]
    for number, (first, params, chunk) in enumerate(cases):
        job = Job(server, f"n{number}")
        job.create(params, chunk=chunk, first=first)
        for c, (_, fields) in enumerate(entries(job)):
            a, b = job.range(c)
            assert (int(fields["start_param"]), int(fields["end_param"])) == (a, b), (job.name, fields)
            assert int(fields["total_in_chunk"]) == b - a + 1, (job.name, fields)
        job.join("w")
        job.run("w")
        for r in job.results():
            a, b = job.range(int(r["chunk_id"]))
            assert (int(r["start_param"]), int(r["end_param"])) == (a, b), r
        job.check()
    empty = Job(server, "empty")
    empty.create(0, chunk=5)
    assert empty.status()["state"] == "finished" and empty.status()["params"] == 0


@test
def sums_have_128_bits():
    server = timeless()
    for number, sums in enumerate([[10 ** 15 - 1, 1], [-1, 1], [-(10 ** 15), 1, -1], [10 ** 30, -1],
                                   [-(10 ** 30), 1], [-(10 ** 30) - 10 ** 15, 10 ** 15], [0, 0],
                                   [2 ** 127 - 1], [-(2 ** 127) + 1], [-5, 3], [10 ** 15, -(10 ** 15)]]):
        job = Job(server, f"s{number}")
        job.create(len(sums))
        job.join("w", slots=9)
        for lease in job.take("w", count=9):
            assert job.commit("w", [lease], sums=[sums[lease[0]]]) == {}
        assert int(job("status")[job("status").index(b"sum") + 1]) == sum(sums), sums
    job = Job(server, "much")
    job.create(2)
    job.join("w", slots=2)
    job.commit("w", job.take("w", count=2), sums=[2 ** 127 - 1, 1])
    words = job("status")
    assert words[words.index(b"sum") + 1] == b"" and words[words.index(b"has_sum") + 1] == 1


@test
def a_repeated_commit_is_again_and_no_stale_work():
    job = a_job(10)
    job.join("a", slots=4)
    leases = job.take("a", count=4)
    assert job.commit("a", leases) == {}
    assert job.commit("a", leases) == {l[0]: "again" for l in leases}
    more = job.take("a", count=2)
    mixed = more + [(leases[0][0], 77, 1), leases[1]]
    told = {leases[0][0]: "stale", leases[1][0]: "again"}
    assert job.commit("a", mixed) == told
    # Also in another order and company, and with a join before.
    words = [w for l in leases[:2] + more for w in l[:2]]
    assert [int(w) for w in job.join("a", slots=4, held=words)["held"]] == words
    assert job.commit("a", more[::-1] + leases[:2]) == {l[0]: "again" for l in more + leases[:2]}
    assert job.commit("b", leases[:1]) == {leases[0][0]: "stale"}
    s = job.status()
    assert s["completed"] == 6 and s["stale_dropped"] == 2 and s["attempts"] == 6, s
    assert job.commit("a", [(99, 1, 1)]) == {99: "invalid"}
    assert job.commit("a", [(9, 12345, 1)]) == {9: "stale"}
    job.run("a")
    job.check()


@test
def incarnations_beyond_2_to_the_53():
    job = a_job(10)
    old, new = (1 << 62) + 1, (1 << 62) + 2
    job.join("w", old)
    (lease,) = job.take("w", old)
    assert job.join("w", new)["held"] == []
    assert "REPLACED" in error_of(job.take, "w", old)
    assert "REPLACED" in error_of(job.join, "w", old)
    (again,) = job.take("w", new)
    assert again[0] == lease[0] and again[2] == 2
    assert job.status()["workers_lost"] == 1


@test
def who_comes_back_keeps_what_nobody_took():
    job = a_job(20)
    job.join("a", slots=3)
    leases = job.take("a", count=3)
    # An answer that got lost: the third lease is not named.
    named = [w for l in leases[:2] for w in l[:2]]
    answer = job.join("a", slots=3, held=named)["held"]
    assert [int(w) for w in answer] == named
    s = job.status()
    assert s["released"] == 1 and s["ready"] == 1 and s["leased"] == 2, s
    # Thought lost, one chunk taken by another, one still there.
    job.join("b")
    silence(job, "a")
    job("look")
    taken = job.take("b")[0]
    answer = [int(w) for w in job.join("a", slots=3, held=named)["held"]]
    kept = dict(zip(answer[::2], answer[1::2]))
    for chunk, epoch, _ in leases[:2]:
        assert kept[chunk] == (0 if chunk == taken[0] else epoch), (kept, taken)
    job.status()
    assert job("release", "a", 1) == sum(e > 0 for e in kept.values())
    job("release", "b", 1)
    job.run("b")
    job.check()


@test
def failures_wait_die_and_are_tried_again():
    job = a_job(3, MAXATTEMPTS=3, RETRYMIN=20, RETRYMAX=50, RETRYJITTER=0)
    job.join("w", slots=3)
    a, b, c = job.take("w", count=3)
    assert job.fail("w", a) == ("retry", 20) and job.fail("w", a) == ("stale", 0)
    assert job.fail("w", b, "bad input", final=True) == ("dead", 0)
    assert job.commit("w", [c]) == {}
    assert job.commit("w", [b]) == {b[0]: "stale"}
    s = job.status()
    assert s["delayed"] + s["ready"] == 1, s
    job.pass_by(19)
    assert job.take("w") == []
    job.pass_by(1)
    (a,) = job.take("w")
    assert a[2] == 2 and job.fail("w", a) == ("retry", 40)
    job.pass_by(40)
    (a,) = job.take("w")
    assert job.fail("w", a, "last words") == ("dead", 0)
    s = job.status()
    assert s["state"] == "finished" and s["dead_letters"] == 2 and s["failures"] == 4, s
    assert [i.rpartition("-")[2] for i, _ in entries(job)] == ["1", "2"], "dead letters keep entries"
    listed = job("dead_list", "COUNT", 10)
    assert {int(e[1]) for e in listed} == {0, 1}
    shown = job("dead_show", 0)
    assert shown[1] == b"0" and len(shown[-1]) == 3 and shown[-1][2][-1] == b"last words"
    assert job("dead_drop", 1) == 1 and job("dead_drop", 1) == 0
    assert job("dead_redrive", "ALL") == 1 and job("dead_redrive", "0") == 0
    assert job.status()["state"] == "running"
    (a,) = job.take("w")
    assert a[2] == 1 and job.commit("w", [a]) == {}
    s = job.status()
    assert s["state"] == "finished" and s["dropped"] == 1 and s["completed"] == 2, s
    assert s["params"] == 2 and entries(job) == []


@test
def lost_workers_bury_the_chunk_that_kills_them():
    job = a_job(1, MAXATTEMPTS=2)
    for incarnation in (1, 2):
        job.join("w", incarnation)
        assert len(job.take("w", incarnation)) == 1
    job.join("w", 3)
    s = job.status()
    assert s["dead_letters"] == 1 and s["state"] == "finished", s


@test
def the_map_shows_where_all_chunks_are():
    job = a_job(10, MAXATTEMPTS=1)

    def look(*words):
        return pairs(job("map", "CELLS", 5, "LEASES", 9, "RAN", 9, "SINCE", 0, *words))
    assert look()["cells"] == [5, 0, 0, 0, 0, 0], look()
    job.join("w", slots=2)
    job.join("v")
    one, two = job.take("w", count=2)
    (three,) = job.take("v")
    job.fail("v", three, final=True)
    job.commit("w", [one])
    job.take("v")
    got = look()
    assert got["chunks"] == 10 and got["per_cell"] == 2, got
    # done leased ready delayed dead of two chunks each, equal ones together
    assert got["cells"] == [1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 1, 3, 0, 0, 0, 0, 0], got
    leases = {got["leases"][i]: got["leases"][i + 1:i + 5] for i in range(0, 10, 5)}
    assert sorted(leases) == [b"v", b"w"] and leases[b"w"][0] == two[0], leases
    assert abs(int(leases[b"w"][3]) / 1000 - time.time()) < 60, leases
    assert got["ran"][:3] == [b"w", 0, 1] and abs(got["ran"][3] / 1000 - time.time()) < 60, got


@test
def who_started_a_worker_tells_what_it_died_of():
    job = a_job(2, MAXATTEMPTS=2)

    def reasons():
        shown = pairs(job("dead_show", 0))["reasons"]
        return [dict(zip(r[::2], r[1::2]))[b"reason"].decode() for r in shown]
    # Before its silence is noticed: lost at once.
    job.join("a", 11)
    assert job.take("a", 11)[0][0] == 0
    assert job("lost", "a", 11, "killed by SIGSEGV") == 1
    # And afterwards: what is known of the loss becomes better, also when it is told twice.
    job.join("b", 12)
    assert job.take("b", 12)[0][0] == 0
    silence(job, "b")
    assert job.status()["dead_letters"] == 1
    assert "silent" in reasons()[1], reasons()
    for _ in range(2):
        assert job("lost", "b", 12, "killed by SIGBUS\nlast words") == 0
        assert reasons() == ["worker a was lost: killed by SIGSEGV",
                             "worker b was lost: killed by SIGBUS\nlast words"], reasons()
    assert "LOST" in error_of(job, "lost", "b", 13, "why")
    assert job.status()["workers_lost"] == 2
    for i in range(100):
        job.join("c", 100 + i)
    assert job.r.hlen(job.key("charged")) == 64


@test
def pause_cancel_forget():
    job = a_job(10)
    job.join("w", slots=2)
    one, two = job.take("w", count=2)
    job("control", "PAUSE"), job("control", "PAUSE")
    assert job("take", "w", 1, "COUNT", 1) == [1] and job.commit("w", [one]) == {}
    job("control", "RESUME")
    assert len(job.take("w")) == 1
    job("control", "CANCEL"), job("control", "CANCEL")
    assert job("take", "w", 1, "COUNT", 1) == [3]
    assert job.commit("w", [two]) == {two[0]: "refused"}
    assert "JOBENDED" in error_of(job, "control", "PAUSE")
    assert "JOBENDED" in error_of(job.create, 10)
    job("control", "FORGET")
    assert job.r.keys(job.prefix + "*") == [] and job.r.smembers("ttg:jobs") == set()
    assert "NOJOB" in error_of(job, "status")
    job.create(10)
    assert "has not ended" in error_of(job, "control", "FORGET")


@test
def the_window_moves_and_memory_is_that_of_what_is_open():
    job = a_job(10 ** 9, WINDOW=500)
    job.join("w", slots=100)
    before = None
    for turn in range(60):
        leases = job.take("w", count=100)
        assert len(leases) == 100 and job.commit("w", leases) == {}
        s = job.status()
        assert s["fresh"] <= 500 and job.r.xlen(job.key("tasks")) <= 700, s
        if turn == 20:
            before = sum(job.r.memory_usage(k) for k in job.r.keys() if k != job.key("results").encode())
    after = sum(job.r.memory_usage(k) for k in job.r.keys() if k != job.key("results").encode())
    assert after < before * 1.3 + 20000, (before, after)
    # One old chunk that goes on does not keep the done ones above it.
    (old,) = job.take("w")
    for _ in range(330):
        assert job.commit("w", job.take("w", count=99)) == {}
    assert job.r.xlen(job.key("tasks")) <= 500 + 30000 + 200
    assert job.commit("w", [old]) == {}


@test
def done_entries_go_also_around_dead_letters():
    job = a_job(300, WINDOW=100)
    job.join("w", slots=50)
    leases = job.take("w", count=50)
    job.fail("w", leases[7], final=True)
    job.commit("w", leases[:7] + leases[8:])
    job.run("w")
    s = job.status()
    assert s["state"] == "finished" and s["completed"] == 299, s
    assert [i.rpartition("-")[2] for i, _ in entries(job)] == ["8"]


@test
def trimming_keeps_the_newest_ten_thousand():
    job = a_job(35000, WINDOW=1000)
    job.join("w", slots=1000)
    seen = 0
    for _ in range(35):
        job.commit("w", job.take("w", count=1000))
        _, newest, _, _ = job("look")
        lowest = job("trim", newest)
        kept = job.r.xlen(job.key("results"))
        seen += 1000
        assert kept >= min(seen, 10000) and kept <= 21000 and int(lowest) == seen - kept + 1
    assert job.status()["result_first"] > 10000
    assert job("look")[2] != b"0-0"


def consumer_of(job):
    return {p["message_id"].decode().rpartition("-")[2]: p["consumer"].decode()
            for p in pending(job)}


@test
def many_taken_at_once_are_listed_while_they_last():
    job = a_job(1000)
    job.join("a", slots=1000)
    leases = job.take("a", count=500)
    assert [l[0] for l in leases] == list(range(500)) and pending(job) == []
    (group,) = job.r.xinfo_groups(job.key("tasks"))
    assert group["last-delivered-id"].decode().endswith("-500") and group["consumers"] == 1, group
    assert group.get("lag", 500) == 500, group
    # In any order; entries go as far as all below are done.
    assert job.commit("a", leases[:100]) == {} and job.commit("a", leases[300:400][::-1]) == {}
    assert job.commit("a", [leases[250]]) == {}
    assert job.commit("a", leases[:2]) == {0: "again", 1: "again"}

    def listed():
        job("beat", "a", 1)
        return pending(job)
    job.pass_by(599)
    assert listed() == []
    job.pass_by(2)
    assert listed(), "what is held for longer gets into the pending list"
    left = [l for l in leases if l[0] in {*range(100, 300), *range(400, 500)} - {250}]
    assert consumer_of(job) == {str(l[0] + 1): "a" for l in left}
    assert job.r.exists(job.key("bulk"), job.key("bulked")) == 0
    assert job.commit("a", left) == {} and pending(job) == []
    job.run("a", batch=1000)
    job.check()
    assert entries(job) == []


@test
def many_taken_at_once_come_back_when_their_worker_is_lost():
    for how in ("silence", "leave", "rejoin", "release"):
        job = Job(timeless(), how)
        job.create(600)
        job.join("a", slots=1)
        leases = job.take("a", count=400)
        taken = len(leases)
        assert taken >= 100, taken
        assert job.commit("a", leases[:3] + leases[50:60]) == {}
        job.join("b", slots=600)
        if how == "silence":
            silence(job, "a")
        elif how == "rejoin": # it knows of one
            job.join("a", slots=1, held=leases[10][:2])
            assert job.commit("a", [leases[10]]) == {}
        else:
            assert job(how, "a", 1) == taken - 13
        job.status()
        assert job.commit("a", [leases[99]]) == {}, "nobody took it since"
        job.run("b", batch=600)
        s = job.check()
        assert s["workers_lost"] == (how == "silence"), s
        assert s["attempts"] <= 601 and entries(job) == [], s


@test
def what_came_back_is_an_entry_like_others():
    """However it came back: trimming goes around it, the next holder is in the pending list, and
    when that one is lost, too, it comes back at once."""
    for how in ("silence", "leave", "release", "release some", "fail", "rejoin"):
        job = Job(timeless(), how.replace(" ", "_"))
        job.create(5000, RETRYMIN=0, RETRYMAX=0)
        job.join("a", slots=1000), job.join("b", slots=1), job.join("c", slots=4000)
        leases, others = job.take("a", count=300), job.take("c", count=2000)
        if how == "silence":
            silence(job, "a")
            job.status()
        elif how == "release some":
            assert job("release", "a", 1, *[w for l in leases[:9] for w in l[:2]]) == 9
        elif how == "fail":
            job.fail("a", leases[0])
        elif how == "rejoin":
            job.join("a", slots=1000, held=[w for l in leases[9:] for w in l[:2]])
        else:
            job(how, "a", 1)
        assert job.status()["ready"] + job.status()["delayed"] > 0
        job.commit("c", others) # trims what nobody needs any more
        ((chunk, *_),) = job.take("b")
        assert chunk == 0, how
        assert consumer_of(job).get("1") == "b", (how, consumer_of(job))
        assert entries(job)[0][0].endswith("-1"), (how, entries(job)[:3])
        silence(job, "b")
        assert job.status()["workers_lost"] == (2 if how == "silence" else 1)
        assert 0 in [l[0] for l in job.take("c", count=400)], how


@test
def what_was_taken_by_the_hundred_can_be_stolen():
    job = a_job(400)
    job.join("a", slots=1), job.join("b", slots=1)
    many = job.take("a", count=400)
    while job.status()["fresh"] > 0:
        job.commit("b", job.take("b", count=50))
    job.pass_by(99)
    assert job.take("b", count=50) == [], "not what was taken just now"
    job.pass_by(101)
    stolen = job.take("b", count=50)
    assert stolen[-1][0] <= many[-1][0] and consumer_of(job)[str(stolen[0][0] + 1)] == "b"
    assert job.commit("b", stolen) == {}
    verdicts = job.commit("a", many)
    assert verdicts == {chunk: "stale" for chunk, *_ in stolen}, verdicts
    job.run("a")
    job.check()


@test
def an_idle_worker_takes_what_another_only_keeps():
    job = a_job(20)
    job.join("a"), job.join("b")
    many = job.take("a", count=20)
    kept, rest = {lease[0] for lease in many}, []

    def a_stolen_one():
        job.pass_by(20)
        got = job.take("b")
        if got and got[0][0] in kept:
            return got
        rest.extend(got)
        assert job.commit("b", got) == {}
        return None
    stolen = wait_until(a_stolen_one, what="a stolen chunk")
    assert len(many) == 5 and len(rest) == 15, (many, rest)
    assert stolen[0][0] == many[-1][0] and stolen[0][2] == 1
    assert int(job("beat", "a", 1, *many[-1][:2])[2]) == many[-1][0]
    assert job.commit("a", [many[-1]]) == {many[-1][0]: "stale"}
    s = job.status()
    assert s["stolen"] == 1 and len(job.events("chunk.stolen")) == 1, s


@test
def what_is_over_soon_is_not_shared_out():
    job = a_job(1000)
    for i in range(50):
        job.join(f"w{i}")

    def take(worker, *more):
        return sum(int(n) for n in job("take", worker, 1, "COUNT", 200, *more)[2::4])
    assert take("w0") == 10 and take("w1", "LOOK", 30000, "SOON", 0) == 9
    assert take("w2", "SOON", 64) == 64 and take("w3", "SOON", 1000) == 200
    assert take("w4", "SOON", 2) == 7
    while job.status()["fresh"] > 150:
        assert take("w5", "SOON", 50) == 50
    assert take("w6") == 1 and take("w7", "SOON", 64) == 64
    assert 0 < take("w8", "SOON", 64) < 64, "all there is"


@test
def the_server_going_back_in_time_reuses_no_epoch():
    job = a_job(10)
    job.join("w", slots=5)
    first = job.take("w", count=5)
    state = {k: job.r.dump(k) for k in job.r.keys()}
    later = job.take("w", count=2)
    job.r.flushall()
    for key, value in state.items():
        job.r.restore(key, 0, value)
    # Epochs carry the millisecond; nobody restores a server within one.
    job.pass_by(1)
    job.join("w", slots=5)
    again = job.take("w", count=5)
    assert not {l[1] for l in again} & {l[1] for l in first + later}


main()
