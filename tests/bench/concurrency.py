#!/usr/bin/env python3
"""What tasks and the shared store cost a script, beside a call of its own and a table.

    TIDEGATE_BIN=build/release/tidegate tests/bench/concurrency.py [FACTOR]
"""

import os
import subprocess
import sys
from pathlib import Path


def main():
    binary = Path(os.environ.get("TIDEGATE_BIN", "build/release/tidegate"))
    program = binary.resolve().parent / "tests" / "bench" / "concurrency"
    if not program.exists():
        sys.exit(f"{program} is not built")
    sys.exit(subprocess.run([program, *sys.argv[1:]]).returncode)


if __name__ == "__main__":
    main()
