# SPDX-License-Identifier: Apache-2.0
"""amqprelay - a network between a client and a RabbitMQ broker that knows where AMQP's frames end: it
tells what passed, and can keep either side's words back."""
import struct

from faultrig import Proxy

GREETING = b"AMQP\x00\x00\x09\x01"  # a client's, before its first frame
METHOD, HEADER, BODY = 1, 2, 3      # types of frames
FIRST = b"\x05ttg-1"                # the consumer of a worker that has just come, of a collector's results, of a pipe
NACK = struct.pack(">H", 120)       # in place of ACK's number
NAMES = {(20, 10): "channel.open", (50, 10): "queue.declare", (50, 40): "queue.delete", (60, 10): "qos",
         (60, 20): "consume", (60, 30): "cancel",
         (60, 40): "publish", (60, 60): "deliver", (60, 70): "get", (60, 71): "get-ok",
         (60, 72): "get-empty", (60, 80): "ack"}


class AmqpRelay(Proxy):
    """Connect to `port`. `passed` lists what went through, oldest first: (direction, what, of which
    queue), direction ">" from a client."""

    def __init__(self, broker):
        self.passed, self.holding, self.hold_after, self.held = [], False, None, []
        self.cut_before, self.refused, self.refuse_after = None, [], None
        self.stall_at, self.stalled, self.unsaid = None, None, b""
        self.lose_next, self.lost = False, 0
        super().__init__(broker.port)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def hold_confirms_after(self, queue):
        """From the next message to that queue on no client hears that its messages are kept."""
        with self.lock:
            self.hold_after = queue

    def release(self):
        """They hear it now."""
        with self.lock:
            self.holding, self.hold_after = False, None
            for side, frame in self.held:
                if side in [each for link in self.links for each in link]:
                    side.pending.append((0.0, frame))
            self.held = []

    def cut_once_before(self, name, queue):
        """The next client that says so to that queue loses its connection, and the broker has not heard it."""
        self.cut_before = (name, queue)

    def stall_once_at(self, name):
        """The broker does not hear when a client says so next, nor what comes behind it; the client hears all."""
        self.stall_at = name

    def go_on(self):
        """Now it hears it."""
        with self.lock:
            self.stalled.pending.append((0.0, self.unsaid))
            self.stalled, self.unsaid = None, b""

    def lose_deliveries(self):
        """Who is to get a chunk, a result or a message next does not hear of it, nor of any other behind it."""
        self.lose_next = True

    def refuse_confirms(self):
        """From now on the clients that are connected hear that the broker could not keep what they publish."""
        with self.lock:
            self.refused = [far for _, far in self.links]

    def refuse_after_first(self, queue):
        """The same for who publishes to that queue first, from then on."""
        self.refuse_after = queue

    def count(self, *what):
        """How often that passed: all of it that is named is the same."""
        return sum(each[:len(what)] == what for each in list(self.passed))

    def _passing(self, side, data):
        buffer = getattr(side, "frames", b"") + data
        passing = b""
        from_client = any(side is link[0] for link in self.links)
        if from_client and buffer.startswith(GREETING):
            passing, buffer = GREETING, buffer[len(GREETING):]
        while len(buffer) >= 7:
            kind, _, size = struct.unpack(">BHI", buffer[:7])
            if len(buffer) < size + 8:
                break
            frame, buffer = buffer[:size + 8], buffer[size + 8:]
            passed = len(self.passed)
            what = self._look(">" if from_client else "<", kind, frame[7:-1])
            if what == ("<", "deliver") and frame[11:].startswith(FIRST) and self._loses(side):
                side.losing = -1
            if getattr(side, "losing", 0):
                side.losing = self._left(side.losing, kind, frame[7:-1])
                continue
            if what == (">", self.stall_at):
                self.stalled, self.stall_at = side, None
            if side is self.stalled:
                self.unsaid += frame
                continue
            if self.passed[passed:] == [(">", "publish", self.refuse_after)]:
                self.refused, self.refuse_after = [side.peer], None
            if what == ("<", "ack") and side in self.refused:
                frame = frame[:9] + NACK + frame[11:]
            if what == ("<", "ack") and self.holding:
                self.held.append((side, frame))
            else:
                passing += frame
        side.frames = buffer
        return passing

    def _loses(self, side):
        if self.lose_next:
            self.lose_next, side.deaf = False, True
        self.lost += getattr(side, "deaf", False)
        return getattr(side, "deaf", False)

    @staticmethod
    def _left(before, kind, payload):
        """Of a message that is being lost: how many bytes of its body are to come, -1 before that is known."""
        if kind == HEADER:
            return struct.unpack(">Q", payload[4:12])[0]
        return before - len(payload) if kind == BODY else before

    def _look(self, way, kind, payload):
        if kind != METHOD:
            return None
        name = NAMES.get(struct.unpack(">HH", payload[:4]), "")
        queue = ""
        if way == ">" and name in ("queue.declare", "queue.delete", "get", "consume"):
            queue = payload[7:7 + payload[6]].decode()
        elif way == ">" and name == "publish":  # behind the exchange's name
            at = 7 + payload[6]
            queue = payload[at + 1:at + 1 + payload[at]].decode()
            self.holding = self.holding or queue == self.hold_after
        if way == ">" and (name, queue) == self.cut_before:
            self.cut_before = None
            raise ConnectionResetError("as a test wanted it")
        self.passed.append((way, name, queue))
        return way, name
