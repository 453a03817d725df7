#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plain Redis clients on the same job, beside the scripts on a real redis-server."""
from harness import main, test
from redisrig import Job, Redis, a_job, entries, pending, silence


def plain_take(job, name="me", count=1):
    got = job.r.xreadgroup("ttg-workers", name, {job.key("tasks"): ">"}, count=count)
    return got[0][1] if got else []


def plain_result(job, fields, name="me", **more):
    chunk = int(fields[b"chunk_id"])
    first, last = int(fields[b"start_param"]), int(fields[b"end_param"])
    total = (first + last) * (last - first + 1) // 2
    return job.r.xadd(job.key("results"), {
        "chunk_id": f"{chunk:05}", "worker_id": name, "status": "complete",
        "params_processed": last - first + 1, "duration_seconds": "0.35",
        "result_summary": '{"sum": %d, "count": %d}' % (total, last - first + 1),
        "completed_at": "2026-02-09T10:00:12Z", **more})


def plain_ack(job, entry_id):
    return job.r.xack(job.key("tasks"), "ttg-workers", entry_id)


def plain_work(job, entry, fields, **more):
    plain_result(job, fields, **more)
    plain_ack(job, entry)


@test
def a_plain_client_works_beside_ours():
    job = a_job(100, chunk=10, WINDOW=4)
    job.join("w")
    for _ in range(3):
        ours = job.take("w")
        for entry, fields in plain_take(job, count=2):
            plain_work(job, entry, fields, flavour="sweet")
        assert job.commit("w", ours) == {}
        job("look")
    job.run("w")
    s = job.check()
    plain = [r for r in job.results() if r["worker_id"] == "me"]
    assert len(plain) == 6 and s["attempts"] == 10 and s["stale_dropped"] == 0, (plain, s)
    assert plain[0]["attempt"] == "1" and plain[0]["flavour"] == "sweet", plain[0]
    assert plain[0]["start_param"] and plain[0]["duration_seconds"] == "0.350000"
    assert pending(job) == []


@test
def a_plain_client_reads_between_those_who_take_many():
    job = a_job(1000)
    job.join("a", slots=1000)
    first = job.take("a", count=200)
    ((entry, fields),) = plain_take(job, count=1)
    assert fields[b"chunk_id"] == b"00200", fields
    second = job.take("a", count=200)
    assert [l[0] for l in second] == list(range(201, 401)), second
    third = job.take("a", count=200)
    assert [l[0] for l in third] == list(range(401, 601)), third
    assert job.commit("a", first + second + third) == {}
    plain_work(job, entry, fields)
    job.run("a", batch=300)
    job.check()


@test
def plain_clients_alone_finish_a_job_that_somebody_collects():
    job = a_job(50, WINDOW=5)
    while job.status()["state"] == "running":
        for entry, fields in plain_take(job, count=3):
            plain_work(job, entry, fields)
            job.r.xdel(job.key("tasks"), entry)
    job.check()


@test
def copies_are_dropped_whoever_was_first():
    job = a_job(4)
    job.join("w", slots=2)
    ours = job.take("w", count=2)
    tasks = dict(entries(job))
    fields = {k.encode(): v.encode() for k, v in tasks[sorted(tasks)[0]].items()}
    plain_result(job, fields)  # of the chunk that worker w has
    plain_result(job, fields)
    assert job.commit("w", ours) == {ours[0][0]: "stale"}
    plain_result(job, fields)
    plain_result(job, {b"chunk_id": b"77", b"start_param": b"0", b"end_param": b"0"})
    plain_result(job, {b"chunk_id": b"3", b"start_param": b"3", b"end_param": b"3"}, status="failed")
    job.r.xadd(job.key("results"), {"what": "nonsense"})
    assert sorted(int(r["chunk_id"]) for r in job.results()) == [0, 1]
    job.run("w")
    s = job.check()
    assert s["stale_dropped"] == 3, s


@test
def many_results_of_plain_clients_at_once():
    job = a_job(2500, WINDOW=3000)
    job.join("w")
    while job.status()["fresh"] + job.status()["unfed"] > 0:
        for entry, fields in plain_take(job, count=1000):
            plain_work(job, entry, fields)
        job.take("w", count=1)
        if job.status()["fresh"] == 0:
            break
    job("release", "w", 1)
    job.run("w")
    job.check()


@test
def an_acknowledged_chunk_without_a_result_runs_again():
    job = a_job(3)
    ((entry, _),) = plain_take(job)
    plain_ack(job, entry)
    ((gone, _),) = plain_take(job)
    job.r.xdel(job.key("tasks"), gone)
    plain_ack(job, gone)
    job.join("w")
    job.run("w")
    job.r.hset(job.key("job"), "audit_ms", 0)
    job.run("w")
    s = job.check()
    assert s["attempts"] == 5, s


@test
def leases_of_plain_clients_run_out():
    job = a_job(2, STALE=300)
    plain_take(job)
    job.join("w")
    job.run("w")
    assert job.take("w") == []
    job.pass_by(1000)
    (lease,) = job.take("w")
    assert lease[2] == 2 and job.commit("w", [lease]) == {}
    assert job.check()["reclaimed"] == 1 and len(job.events("lease.expired")) == 1


@test
def a_busy_worker_looks_for_such_leases_now_and_then():
    job = a_job(100, STALE=1)
    plain_take(job)
    job.pass_by(1)
    job.join("w")

    def take(*more):
        job.r.hset(job.key("job"), "audit_ms", job.now_ms() - 20000)  # so long ago
        answer = job("take", "w", 1, "COUNT", 1, *more)
        job("release", "w", 1, answer[1], answer[3])
        return len(job.events("lease.expired"))
    assert take() == 0 and take("LOOK", 30000) == 0, "each 30 s is enough"
    assert take("BLOCK", 5, "LOOK", 10000) == 1, "more often when asked to"


@test
def the_interval_of_the_playbook_reaches_the_script():
    for seconds in (1, 30):
        server = Redis()
        job = Job(server)
        job.create(1)
        with server.client.monitor() as monitor:
            worker = server.worker(0, "--simulate-ms", 0, env={"STALE_CHECK_INTERVAL_SECONDS": seconds})
            assert worker.wait() == 0, worker.err()
            calls = (c["command"] for c in monitor.listen())
            take = next(c for c in calls if c.startswith("EVAL") and " COUNT " in c[-99:])
        assert take.endswith(f" LOOK {seconds}000"), take


@test
def our_leases_are_renewed_for_plain_clients_to_see():
    job = a_job(3, STALE=400)
    job.join("w", slots=3)
    job.take("w", count=3)
    job.pass_by(150)
    assert [p["time_since_delivered"] for p in pending(job)] == [150] * 3, pending(job)
    job("beat", "w", 1)
    assert [(p["time_since_delivered"], p["times_delivered"]) for p in pending(job)] == [(0, 1)] * 3, pending(job)


@test
def a_lease_that_somebody_claimed_away_is_found():
    job = a_job(2)
    job.join("a"), job.join("w")
    (lease,) = job.take("a")
    job.r.xclaim(job.key("tasks"), "ttg-workers", "thief", 0, [pending(job)[0]["message_id"]])
    silence(job, "a")
    job.run("w")
    job.r.hset(job.key("job"), "audit_ms", 0)
    job.run("w")
    assert lease[0] == 0
    job.check()


@test
def entries_of_others_in_the_task_stream_do_no_harm():
    job = a_job(30, WINDOW=10)
    job.join("w", slots=3)
    job.r.xadd(job.key("tasks"), {"chunk_id": "00000", "start_param": "0"})
    job.run("w", batch=3)
    job.r.xadd(job.key("tasks"), {"hello": "world"})
    job.run("w")
    job.check()


@test
def results_that_are_no_json_stay_results():
    job = a_job(3)
    for (entry, fields), text in zip(plain_take(job, count=3), ("not json", '{"sum":1}', "[1,2")):
        plain_work(job, entry, fields, result_summary=text)
    found = [r["result_summary"] for r in job.results()]
    assert found == ['"not json"', '{"sum":1}', '"[1,2"'], found


main()
