"""Crowds of hostile clients: memory stays bounded, good users beside them are served, nothing is left when
they have gone. What it measures is printed; tests/bench/hostile.py does the same with full numbers."""

import unittest

import crowds
from crowds import KIB, MIB

SANITIZED = crowds.is_sanitized()
FEW, SOME, MANY = (20, 40, 300) if SANITIZED else (50, 200, 2000)


class Hostile(unittest.TestCase):
    def setUp(self):
        self.server = crowds.start()
        self.addCleanup(self.server.stop)  # a sanitizer that finds a leak fails here

    def judge(self, name, facts, growth_max):
        """growth_max: bytes that the server may grow by; not asked of sanitizer builds."""
        print(crowds.report(name, facts), flush=True)
        self.assertGreater(facts["good_users"]["answers"], 3)
        self.assertLess(facts["good_users"]["worst_ms"], 1000 * crowds.DEADLINE)
        if not SANITIZED:
            self.assertLess(facts["grown"], growth_max)
        self.assertEqual(crowds.count_of(self.server, "tidegate_connections{"), 0)
        self.assertEqual(crowds.count_of(self.server, "tidegate_runs{"), 0)

    def test_idle_connections(self):
        facts = crowds.idle(self.server, MANY)
        self.judge("idle", facts, MANY * 16 * KIB + 8 * MIB)

    def test_readers_that_read_nothing(self):
        facts = crowds.slow_readers(self.server, SOME)
        self.judge("slow readers", facts, SOME * 512 * KIB + 16 * MIB)

    def test_ping_flood_of_clients_that_read(self):
        facts = crowds.ping_flood(self.server, FEW, 1.5, reads=True)
        self.judge("ping flood", facts, FEW * 256 * KIB + 8 * MIB)
        self.assertGreater(facts["pings_per_second"], 1000)

    def test_ping_flood_of_clients_that_do_not_read(self):
        facts = crowds.ping_flood(self.server, FEW, 1.5, reads=False)
        self.judge("deaf pings", facts, FEW * 512 * KIB + 8 * MIB)

    def test_connect_flood(self):
        facts = crowds.connect_flood(self.server, 2)
        self.judge("connect flood", facts, 32 * MIB)
        self.assertGreater(facts["connections"], 50)

    def test_heads_that_never_end(self):
        facts = crowds.slow_heads(self.server, MANY // 2)
        self.judge("slow heads", facts, MANY // 2 * 32 * KIB + 8 * MIB)
        self.assertEqual(facts["answered_408"], MANY // 2)

    def test_messages_that_never_end(self):
        facts = crowds.slow_messages(self.server, SOME, 20)
        self.judge("slow messages", facts, SOME * 128 * KIB + 8 * MIB)


if __name__ == "__main__":
    unittest.main()
