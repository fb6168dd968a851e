#!/usr/bin/env python3
"""Crowds of hostile clients with full numbers, each against a fresh server; prints what it measures.

    TIDEGATE_BIN=build/release/tidegate tests/bench/hostile.py [SCENARIO...]

Each scenario runs twice on its server: what memory is still there after the first round and grows with
the second is a leak. tests/e2e/hostile_test.py runs the same small and judges them.
"""

import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import crowds  # noqa: E402

ROUNDS = 2
SPARE_FILES = 300

SCENARIOS = {
    "idle": lambda server, most: crowds.idle(server, most),
    "slow_readers": lambda server, most: crowds.slow_readers(server, 1000),
    "ping_flood": lambda server, most: crowds.ping_flood(server, 100, 5, reads=True),
    "deaf_pings": lambda server, most: crowds.ping_flood(server, 100, 5, reads=False),
    "connect_flood": lambda server, most: crowds.connect_flood(server, 10),
    "slow_heads": lambda server, most: crowds.slow_heads(server, most),
    "slow_messages": lambda server, most: crowds.slow_messages(server, 1000, 50),
}


def main():
    wanted = sys.argv[1:] or list(SCENARIOS)
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        print(f"hostile: there is no {unknown[0]}; there are {' '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    crowds.raise_file_limit()
    # This process and the server hold one end of each connection.
    most = min(10000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES)
    for name in wanted:
        server = crowds.start()
        for number in range(ROUNDS):
            print(crowds.report(name if number == 0 else "  again", SCENARIOS[name](server, most)), flush=True)
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
