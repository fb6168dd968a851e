#!/usr/bin/env python3
"""Runs the end-to-end tests: every *_test.py beside this file, or those named, two at a time.

    TIDEGATE_BIN=build/dev/tidegate tests/e2e/run.py [NAME...]

Each file is a program of its own, so one that crashes takes no other with it, and counts as failed.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PARALLEL = 2
TIMEOUT = 300  # for one file; its own waits are much shorter


def run_file(path):
    """(path, seconds, passed, failed, skipped, output) of one test file."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, str(path), "-v"],  # each test by its name, so that one that hangs is known
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
        )
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:
        output, code = (error.stdout or b"").decode(errors="replace") + "\ntimed out\n", 1
    ran = re.search(r"^Ran (\d+) tests? in", output, re.M)
    total = int(ran[1]) if ran else 0
    skipped = sum(int(n) for n in re.findall(r"\bskipped=(\d+)", output))
    failed = len(set(re.findall(r"^(?:FAIL|ERROR): (\S+ \(\S+\))", output, re.M)))
    if code != 0 or total == 0:
        failed = max(failed, 1)
    passed = max(total - failed - skipped, 0)
    return path, time.monotonic() - began, passed, failed, skipped, output


def main():
    names = sys.argv[1:]
    files = sorted(FOLDER.glob("*_test.py"), key=lambda path: -path.stat().st_size)
    if names:
        files = [path for path in files if path.stem in names or path.stem[: -len("_test")] in names]
    binary = Path(os.environ.get("TIDEGATE_BIN", FOLDER.parents[1] / "build/dev/tidegate"))
    if not os.access(binary, os.X_OK):
        print(f"e2e: there is no program {binary}; build it or set TIDEGATE_BIN", file=sys.stderr)
        return 1

    totals = [0, 0, 0]
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for task in concurrent.futures.as_completed([pool.submit(run_file, path) for path in files]):
            path, seconds, passed, failed, skipped, output = task.result()
            totals = [a + b for a, b in zip(totals, (passed, failed, skipped))]
            if failed:
                print(output)
            word = "FAILED" if failed else "ok"
            print(f"{word:6} {path.name:26} {passed} passed, {failed} failed  ({seconds:.1f} s)", flush=True)
    passed, failed, skipped = totals
    print(f"e2e: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
