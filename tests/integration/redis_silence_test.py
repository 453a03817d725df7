#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Workers that are not heard of any more, by the scripts on a real redis-server: who is lost, and
who is not because the server itself was away."""
from harness import main, test
from redisrig import a_job, error_of, pairs, script, silence


@test
def a_silent_worker_is_charged_one_chunk_a_slot():
    job = a_job(100)
    job.join("a", slots=2), job.join("b")
    leases = job.take("a", count=10)
    assert len(leases) == 10
    silence(job, "a")
    (first,) = job.take("b", count=1)
    s = job.status()
    assert s["workers_lost"] == 1 and s["reclaimed"] == 1 and s["attempts"] == 2, s
    assert first[0] == leases[0][0] and first[2] == 2 and first[1] > leases[0][1]
    (lost,) = job.events("worker.lost")
    assert lost["value"] == 10 and lost["from"] == "a", lost
    assert "LOST" in error_of(job.take, "a")
    # The old holder is stale where its chunk was taken over, and in time where it was not.
    assert job.commit("a", leases[:2]) == {leases[0][0]: "stale"}
    assert job.commit("b", [first]) == {}
    assert {l[2] for l in job.take("b", count=8)} == {1}
    job("leave", "b", 1)
    job.join("c", slots=8)
    job.run("c")
    assert job.check()["stale_dropped"] == 1


@test
def who_is_lost_is_listed_no_more_and_plain_clients_are():
    """Though its chunk is pending under its name until somebody takes it."""
    job = a_job(100)
    job.join("a"), job.join("b")
    job.take("a"), job.take("b")
    silence(job, "a")
    job("look")
    assert job.status()["workers_lost"] == 1
    job.r.xreadgroup("ttg-workers", "stranger", {job.key("tasks"): ">"}, count=2)
    listed = {words[1].decode(): pairs(words[2:]) for words in job("workers")}
    assert {name: (w["foreign"], w["held"]) for name, w in listed.items()} == {
        "b": (0, 1), "stranger": (1, 2)}, listed


@test
def after_an_outage_of_the_server_nobody_is_lost():
    job = a_job(100)
    for worker in "abc":
        job.join(worker)
        job.take(worker)
    old = job.now_ms() - 60000
    job.r.hset(job.key("job"), mapping={"seen_ms": old, "grace_ms": 0})
    for worker in "abc":
        job.r.zadd(job.key("alive"), {worker: old})
    job("beat", "a", 1), job("look"), job("beat", "b", 1)
    s = job.status()
    assert s["workers_lost"] == 0 and s["workers"] == 3, s
    silence(job, "c")
    job("look")
    assert job.status()["workers_lost"] == 1, "c never came back"


def alive(job):
    return {name.decode(): score for name, score in job.r.zrange(job.key("alive"), 0, -1, withscores=True)}


@test
def who_has_just_joined_may_be_slow_to_say_more():
    """A hundred that start at once on a busy machine are; and nobody waits for what they hold."""
    job = a_job(100)
    job.join("holding")
    (held,) = job.take("holding")
    for worker in ("slow", "talking"):
        job.join(worker)
    job.join("holding", held=held[:2]), job("beat", "talking", 1)

    def pass_by(ms):
        job.r.hset(job.key("job"), mapping={"seen_ms": job.now_ms(), "grace_ms": 0})
        for worker, at in alive(job).items():
            job.r.zadd(job.key("alive"), {worker: at - ms})

    def looked():
        job("look"), job.r.hset(job.key("job"), "grace_ms", 0), job("look")
        return set(alive(job))
    pass_by(2500)
    assert looked() == {"slow"}
    pass_by(5000)
    assert looked() == {"slow"} and job.status()["workers_lost"] == 2
    job("beat", "slow", 1)  # from here on it is like the others
    pass_by(2500)
    assert looked() == set() and job.status()["workers_lost"] == 3
    job.join("mute")
    pass_by(10500)
    assert looked() == set() and job.status()["workers_lost"] == 4


@test
def silence_before_an_outage_is_kept():
    """A server that comes and goes: who died is missed all the same, the others are not."""
    job = a_job(100)
    for worker in "ab":
        job.join(worker)
        job.take(worker)
    for _ in range(2):
        seen = job.now_ms() - 30000
        job.r.hset(job.key("job"), mapping={"seen_ms": seen, "grace_ms": 0, "up_ms": seen - 4000})
        job.r.zadd(job.key("alive"), {"a": seen - 400, "b": seen - 1900})
        job("look")
        now, grace = (int(v) for v in job.r.hmget(job.key("job"), "seen_ms", "grace_ms"))
        assert grace == now + 1000, (grace, now)
        silent = {name: now - at for name, at in alive(job).items()}
        assert -300 <= silent["a"] <= 0, silent
        assert 900 <= silent["b"] <= 1200, silent
    job.r.hset(job.key("job"), "grace_ms", 0)
    job("beat", "a", 1)
    assert job.status()["workers_lost"] == 0
    job.r.zincrby(job.key("alive"), -1200, "b")
    job("beat", "a", 1)
    assert job.status()["workers_lost"] == 1 and set(alive(job)) == {"a"}


@test
def a_server_that_was_up_for_a_moment_forgives_as_little():
    """Else who is dead would be as good as alive as long as the server dies again and again."""
    job = a_job(100)
    for worker in "ab":
        job.join(worker)
    for up_ms, kept_ms, grace_ms in ((4000, 0, 1000), (400, 200, 100), (400, 400, 100), (0, 400, 0)):
        seen = job.now_ms() - 30000
        job.r.hset(job.key("job"), mapping={"seen_ms": seen, "grace_ms": 0, "up_ms": seen - up_ms})
        job.r.zadd(job.key("alive"), {"a": seen - 300 - kept_ms, "b": seen - 100})
        job("look")
        now, grace, up = (int(v) for v in job.r.hmget(job.key("job"), "seen_ms", "grace_ms", "up_ms"))
        assert grace == now + grace_ms and up == now, (grace, now, up)
        silent, part = now - alive(job)["a"], min(1, up_ms / 4000)
        most = max(0, 300 + kept_ms - 700 * part)
        assert most - 300 * part <= silent <= most, (up_ms, silent)


@test
def a_new_server_keeps_the_silence_whatever_its_clock_says():
    job = a_job(10)
    for worker in "ab":
        job.join(worker)

    def look(server):
        job.r.eval(script("look"), 2, job.key("job"), job.key("@" + 16 * server), job.name)
    look("1")
    ahead = job.now_ms() + 3600000  # the old server's clock
    job.r.hset(job.key("job"), mapping={"seen_ms": ahead, "grace_ms": ahead + 5})
    job.r.zadd(job.key("alive"), {"a": ahead - 100, "b": ahead - 1800})
    look("2")
    now = int(job.r.hget(job.key("job"), "seen_ms"))
    silent = {name: now - at for name, at in alive(job).items()}
    assert now < ahead and silent["a"] <= 0 and 800 <= silent["b"] <= 1100, (now, ahead, silent)


@test
def a_mass_death_is_noticed_one_by_one():
    job = a_job(100)
    for worker in "abc":
        job.join(worker)
        job.take(worker)

    def lost():  # a status would look itself
        return int(job.r.hget(job.key("job"), "workers_lost"))
    silence(job, "b", "c")
    job("look")
    assert lost() == 1
    assert int(job.r.hget(job.key("job"), "grace_ms")) > int(job.r.hget(job.key("job"), "seen_ms"))
    job.pass_by(9)
    job("look")
    assert lost() == 1
    job.pass_by(1)
    job("look")
    assert lost() == 2


main()
