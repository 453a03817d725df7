#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A worker in Python, over the C library: the sum of squares.

    examples/lib/worker.py ttg+unix:/tmp/ttg.sock squares"""
import ctypes as c
import sys

RUN = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p)


class Call(c.Structure):  # struct ttg_call, as far as it is needed here
    _fields_ = [("size", c.c_size_t), ("start", c.c_int64), ("end", c.c_int64),
                ("chunk", c.c_uint64), ("attempt", c.c_uint32), ("slot", c.c_uint32),
                ("job", c.c_char_p), ("worker", c.c_char_p), ("lines", c.c_void_p),
                ("lines_bytes", c.c_size_t), ("host", c.POINTER(c.c_void_p))]


class Options(c.Structure):  # struct ttg_worker_options: the rest of it stays default
    _fields_ = [("size", c.c_size_t), ("run", RUN), ("state", c.c_void_p), ("name", c.c_char_p),
                ("slots", c.c_uint32), ("prefetch_chunks_max", c.c_uint32)]


@RUN
def square_sum(_state, address):
    call = Call.from_address(address)
    add = c.CFUNCTYPE(None, c.c_void_p, c.c_int64)(call.host[1])  # struct ttg_host: size, sum, ...
    for i in range(call.start, call.end + 1):
        add(address, i * i)
    return 0  # TTG_DONE


ttg = c.CDLL("libttg.so.0")
ttg.ttg_worker_message.restype = c.c_char_p
queue, worker = c.c_void_p(), c.c_void_p()
options = Options(size=c.sizeof(Options), run=square_sum)
ttg.ttg_queue_open(c.byref(queue), sys.argv[1].encode(), None)
rc = (ttg.ttg_worker_open(c.byref(worker), queue, sys.argv[2].encode(), c.byref(options))
      or ttg.ttg_worker_run(worker))
if rc:
    sys.exit(f"worker: {ttg.ttg_worker_message(worker).decode()}")
ttg.ttg_worker_close(worker)
ttg.ttg_queue_close(queue)
