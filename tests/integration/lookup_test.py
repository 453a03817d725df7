#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A name server that loses questions, in a network and with a resolv.conf of its own."""
import os
import socket
import sys

from harness import TTG, main, run, skip, spawn, temp_dir, test, write_file

LOST = 3  # of each kind: the usual two attempts are in vain
HOLD = ("ip link set lo up && mount --bind $1 /etc/resolv.conf && mount --bind $2 /etc/nsswitch.conf && "
        "exec $3 $4 serve")


def serve():
    """Answers 127.0.0.1 to the fourth question for an address, and there is no other kind of it."""
    asked = {}
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    print("ready", flush=True)
    while True:
        question, sender = server.recvfrom(512)
        kind = question[-3]
        asked[kind] = asked.get(kind, 0) + 1
        if asked[kind] <= LOST:
            continue
        is_v4 = kind == 1
        answer = question[:2] + b"\x81\x80\0\1\0" + bytes([is_v4]) + b"\0\0\0\0" + question[12:]
        if is_v4:
            answer += b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1"
        server.sendto(answer, sender)


@test
def a_lost_question_is_asked_again():
    if os.geteuid() != 0:
        skip("needs root")
    where = temp_dir()
    files = [write_file(os.path.join(where, "resolv.conf"), "nameserver 127.0.0.1\n"),
             write_file(os.path.join(where, "nsswitch.conf"), "hosts: dns\n")]
    home = spawn(["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", HOLD, "sh", *files,
                  sys.executable, os.path.abspath(__file__)])
    try:
        home.wait_for("^ready$")
    except AssertionError:
        skip("namespaces cannot be made here: " + home.err().strip()[-150:])
    run(["nsenter", "-t", home.pid, "-m", "-n", TTG, "status", "--queue", "redis://there.test:1",
         "--queue-retry", 0], code=3, err="127.0.0.1:1.*refused|refused.*127.0.0.1:1")


if sys.argv[1:] == ["serve"]:
    serve()
main()
