# SPDX-License-Identifier: Apache-2.0
"""gearman_driver.py PORT ping | worker KIND BATCH | drive COUNT | submit

The binary protocol of gearmand as far as it is needed: foreground jobs of the function `task`."""
import signal
import socket
import struct
import sys
import time

import tasks

CAN_DO, PRE_SLEEP, NOOP, SUBMIT_JOB, JOB_CREATED, GRAB_JOB = 1, 4, 6, 7, 8, 9  # kinds of packets
JOB_ASSIGN, WORK_COMPLETE, ECHO_REQ = 11, 13, 16
MOST_OPEN = 1000  # jobs that the client has under way; a window keeps sockets from filling up


def packet(kind, *words):
    body = b"\0".join(words)
    return b"\0REQ" + struct.pack(">II", kind, len(body)) + body


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes = self.socket.makefile("rb", 1 << 16)

    def send(self, packets):
        self.socket.sendall(b"".join(packets))

    def receive(self):
        """(kind, body)"""
        head = self.bytes.read(12)
        if len(head) < 12:
            sys.exit("gearmand closed the connection")
        kind, size = struct.unpack(">II", head[4:])
        return kind, self.bytes.read(size)


def grab(client, batch):
    """Jobs, [(handle, number)]: asks for as many, sleeps when there are none."""
    while True:
        client.send([packet(GRAB_JOB)] * batch)
        jobs, answers = [], 0
        while answers < batch:
            kind, body = client.receive()
            answers += kind != NOOP
            if kind == JOB_ASSIGN:
                handle, _, number = body.split(b"\0", 2)
                jobs.append((handle, int(number)))
        if jobs:
            return jobs
        client.send([packet(PRE_SLEEP)])
        while client.receive()[0] != NOOP:
            pass


def work(client, function, batch):
    client.send([packet(CAN_DO, b"task")])
    print("ready", flush=True)
    while True:
        client.send([packet(WORK_COMPLETE, handle, b"%d" % function(n))
                     for handle, n in grab(client, batch)])


def drive(client, count):
    results, sent, created = [], 0, 0
    began = time.monotonic()
    while len(results) < count:
        room = min(count, len(results) + MOST_OPEN) - sent
        if room >= min(MOST_OPEN // 2, count - sent) and room > 0:
            client.send([packet(SUBMIT_JOB, b"task", b"", b"%d" % n)
                         for n in range(sent, sent + room)])
            sent += room
        kind, body = client.receive()
        created += kind == JOB_CREATED
        if kind == WORK_COMPLETE:
            results.append(int(body.split(b"\0", 1)[1]))
    tasks.report(began, results)


def main():
    port, what, *words = sys.argv[1:]
    client = Client(port)
    if what == "worker":
        work(client, tasks.BY_KIND[words[0]], int(words[1]))
    elif what == "drive":
        drive(client, int(words[0]))
    elif what == "submit":
        client.send([packet(SUBMIT_JOB, b"task", b"", b"0")])
        client.receive()
        print("submitted", flush=True)
        signal.pause()
    else:
        client.send([packet(ECHO_REQ, b"x")])
        client.receive()


main()
