#!/usr/bin/env python3
"""What budgets, metrics and the transition log cost a hook call: nanoseconds, and instructions, which repeat exactly.

    TIDEGATE_BIN=build/release/tidegate tests/bench/hook_cost.py

Instructions are counted by valgrind's callgrind when it is installed: two runs that differ only in the
number of calls, so that start and end cancel out.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VARIANTS = ["call", "cpu", "wall", "metrics", "moves"]
FEW, MANY = 1000, 11000


def program():
    binary = Path(os.environ.get("TIDEGATE_BIN", "build/release/tidegate"))
    return binary.resolve().parent / "tests" / "bench" / "hook_cost"


def instructions(path, variant, calls, folder):
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", path, variant, str(calls)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def main():
    path = program()
    if not path.exists():
        print(f"hook_cost: {path} is not built", file=sys.stderr)
        return 1
    subprocess.run([path], check=True)
    if shutil.which("valgrind") is None:
        print("instructions a call: not counted, valgrind is not installed")
        return 0
    base = None
    print(f"{'variant':8} {'instructions a call':>20} {'ratio':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for variant in VARIANTS:
            counts = [instructions(path, variant, calls, folder) for calls in (FEW, MANY)]
            per_call = (counts[1] - counts[0]) / (MANY - FEW)
            base = base or per_call
            print(f"{variant:8} {per_call:20.1f} {per_call / base:7.3f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
