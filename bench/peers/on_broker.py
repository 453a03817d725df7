# SPDX-License-Identifier: Apache-2.0
"""What systems on a broker of the harness have in common. First among a class's bases: the broker is
there before the system itself starts."""


class OnRedis:
    def start(self):
        self.broker = self.place.redis(self.durability)
        self.broker.clear()
        super().start()

    def check_durability(self):
        self.broker.check_durability()


class OnRabbit:
    def find_broker(self):
        return self.place.rabbit()

    def start(self):
        self.broker = self.find_broker()
        self.broker.clear()
        super().start()


class OnRabbitCluster(OnRabbit):
    def find_broker(self):
        return self.place.cluster()
