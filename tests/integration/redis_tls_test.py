#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS to Redis in all its forms: rediss://, rediss+sentinel:// and rediss+cluster://, with real servers
that speak nothing else."""
import json
import os
import subprocess

import redis

from harness import TTG, free_port, have, main, run, skip, spawn, temp_dir, test, wait_until, write_file
from redisrig import SERVER


class Authority:
    """Certificates for 127.0.0.1, and one of somebody else."""

    def __init__(self):
        if not have("openssl") or not have(SERVER):
            skip("no openssl, or no redis-server")
        self.dir = temp_dir()
        self.cert, self.key = self.make("server")
        self.other, _ = self.make("other")

    def make(self, name):
        cert, key = (os.path.join(self.dir, name + end) for end in (".crt", ".key"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=" + name,
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return cert, key

    def options(self, port):
        return ["--port", 0, "--tls-port", port, "--tls-cert-file", self.cert, "--tls-key-file",
                self.key, "--tls-ca-cert-file", self.cert, "--tls-auth-clients", "no"]

    def server(self, *options):
        port = free_port()
        spawn([SERVER, "--bind", "127.0.0.1", "--dir", temp_dir(), "--save", "",
               *self.options(port), *options])
        client = redis.Redis(port=port, ssl=True, ssl_ca_certs=self.cert)

        def answers():
            try:
                return client.ping()
            except redis.exceptions.RedisError:
                return False
        wait_until(answers, what="redis-server answers over TLS (was it built with it?)")
        return port, client

    def check(self, url):
        """A job runs there, and whoever has another certificate is not believed."""
        out = os.path.join(temp_dir(), "out")
        run([TTG, "run", "--queue", url, "--queue-ca", self.cert, "--job", "j", "--params", 1000,
             "--chunk", 10, "--simulate-ms", 0, "--workers", 2, "--output", out], err="verified")
        listed = run([TTG, "status", "--queue", url, "--queue-ca", self.cert, "--json"]).out
        assert [j["completed"] for j in json.loads(listed)["jobs"]] == [100], listed
        done = run([TTG, "doctor", "--queue", url, "--queue-ca", self.cert, "--json"], code=1).out
        assert '"redis-appendonly"' in done, done
        run([TTG, "status", "--queue", url, "--queue-ca", self.other, "j"], code=3,
            err="certificate", env={"QUEUE_RETRY_SECONDS": 1})
        run([TTG, "status", "--queue", url, "--queue-ca", self.other, "--queue-no-verify", "j"])


@test
def one_server():
    authority = Authority()
    port, _ = authority.server()
    authority.check(f"rediss://127.0.0.1:{port}")


@test
def behind_a_sentinel():
    authority = Authority()
    port, _ = authority.server("--tls-replication", "yes")
    where, own = temp_dir(), free_port()
    path = write_file(os.path.join(where, "sentinel.conf"), f"dir {where}\nbind 127.0.0.1\n"
                      f"sentinel monitor m 127.0.0.1 {port} 1\n")
    spawn([SERVER, path, "--sentinel", *authority.options(own), "--tls-replication", "yes"])
    client = redis.Redis(port=own, ssl=True, ssl_ca_certs=authority.cert)

    def knows():
        try:
            return "s_down" not in client.sentinel_master("m")["flags"]
        except redis.exceptions.RedisError:
            return False
    wait_until(knows, what="the sentinel")
    authority.check(f"rediss+sentinel://127.0.0.1:{own}/m")


@test
def on_a_cluster():
    authority = Authority()
    bus = free_port()
    port, client = authority.server("--cluster-enabled", "yes", "--tls-cluster", "yes",
                                    "--cluster-port", bus)
    client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
    wait_until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
    authority.check(f"rediss+cluster://127.0.0.1:{port}")


main()
