# SPDX-License-Identifier: Apache-2.0
"""beanstalk_driver.py PORT ping | worker KIND BATCH | drive COUNT BATCH | submit

Tasks wait in the tube `tasks`, results in `results`. A worker puts the result, then deletes the
task, both in one write; a task of a dead worker comes back by itself."""
import socket
import sys
import time

import tasks

TTR_S = 3600  # time to run; after it a task would go to another worker


class Client:
    def __init__(self, port, use, watch):
        self.socket = socket.create_connection(("127.0.0.1", int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lines = self.socket.makefile("rb", 1 << 16)
        self.socket.sendall(b"use %s\r\nwatch %s\r\n" % (use, watch))
        self.reply()
        self.reply()

    def reply(self):
        """Words of a reply; the body of a job as one more."""
        words = self.lines.readline().split()
        if words[0] == b"RESERVED":
            words.append(self.lines.read(int(words[2]) + 2)[:-2])
        elif words[0] not in (b"INSERTED", b"DELETED", b"TIMED_OUT", b"USING", b"WATCHING"):
            raise ValueError(words)
        return words

    def put(self, n):
        body = b"%d" % n
        return b"put 0 0 %d %d\r\n%s\r\n" % (TTR_S, len(body), body)

    def reserve(self, most):
        """[(id, number)], one at least."""
        self.socket.sendall(b"reserve\r\n" + b"reserve-with-timeout 0\r\n" * (most - 1))
        replies = [self.reply() for _ in range(most)]
        return [(r[1], int(r[3])) for r in replies if r[0] == b"RESERVED"]

    def ask(self, commands):
        self.socket.sendall(b"".join(commands))
        for _ in commands:
            self.reply()


def work(client, function, batch):
    print("ready", flush=True)
    while True:
        jobs = client.reserve(batch)
        out = [client.put(function(n)) for _, n in jobs]
        client.ask(out + [b"delete %s\r\n" % job for job, _ in jobs])


def drive(port, count, batch):
    results, collector = [], Client(port, b"unused", b"results")
    client = Client(port, b"tasks", b"unused")
    began = time.monotonic()
    for first in range(0, count, batch):
        client.ask([client.put(n) for n in range(first, min(first + batch, count))])
    while len(results) < count:
        jobs = collector.reserve(min(max(batch, 64), count - len(results)))
        collector.ask([b"delete %s\r\n" % job for job, _ in jobs])
        results += [n for _, n in jobs]
    tasks.report(began, results)


def main():
    port, what, *words = sys.argv[1:]
    if what == "worker":
        work(Client(port, b"results", b"tasks"), tasks.BY_KIND[words[0]], int(words[1]))
    elif what == "drive":
        drive(port, int(words[0]), int(words[1]))
    else:
        client = Client(port, b"tasks", b"results")
        if what == "submit":
            client.ask([client.put(0)])
        print('{"seconds": 0, "count": 0, "total": 0}')


main()
