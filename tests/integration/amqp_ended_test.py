#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A job on RabbitMQ that has ended, whose results nobody keeps outside the broker: whoever looks at it
finds it ended, and it can be forgotten, whatever is in the way."""
import json

from amqprelay import AmqpRelay
from amqprig import broker
from harness import TTG, main, run, test, wait_until

# Somebody has half of the results when the next visitor takes the lock, and gives them back later.
HOLD = """
N = fun(S) -> rabbit_misc:r(<<"/">>, queue, <<"ttg.held.", S/binary>>) end,
Me = self(),
spawn(fun() ->
    {ok, Limiter} = rabbit_limiter:start_link({<<"test">>, 1}),
    {ok, Q} = rabbit_amqqueue:lookup(N(<<"results">>)),
    lists:foldl(fun(_, S0) -> {ok, _, _, S} = rabbit_amqqueue:basic_get(Q, false, Limiter, <<"test">>, S0), S end,
                rabbit_queue_type:init(), lists:seq(1, 5)),
    Me ! held,
    W = fun F() -> case rabbit_amqqueue:exists(N(<<"job.lock">>)) of true -> ok; _ -> timer:sleep(5), F() end end,
    W(),
    timer:sleep(400)
end),
receive held -> ok after 5000 -> exit(nothing_held) end."""


def ended(job, url):
    run([TTG, "run", "--queue", url, "--job", job, "--params", "100", "--chunk", "10", "--simulate-ms", "0",
         "--workers", "1"])
    wait_until(lambda: broker().queues()[f"ttg.{job}.results"].get("messages") == 10, what="results that wait")


@test
def results_that_somebody_else_has_just_looked_at_are_waited_for():
    ended("held", broker().url)
    assert "ok" in broker().ctl("eval", HOLD).out
    seen = json.loads(run([TTG, "status", "held", "--queue", broker().url, "--json"]).out)
    assert (seen["state"], seen["completed"], seen["sum"]) == ("finished", 10, 4950), seen


@test
def to_forget_it_goes_on_after_a_cut():
    relay = AmqpRelay(broker())
    ended("cut", relay.url)
    relay.cut_once_before("queue.delete", "ttg.cut.job")
    run([TTG, "cancel", "cut", "--forget", "--queue", relay.url])
    assert relay.cut_before is None, relay.passed
    wait_until(lambda: not [name for name in broker().queues() if name.startswith("ttg.cut.")],
               what="the job's queues to be gone")
    # It does not consume what it deletes: the broker would tell it that its queue has gone.
    said = [what for way, what, _ in relay.passed if way == ">"]
    first = said.index("queue.delete")
    assert said[first - 2:first] == ["cancel", "cancel"], said[:first]
    relay.close()


main()
