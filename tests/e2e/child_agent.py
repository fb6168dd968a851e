"""An agent as a child process that does what each request says, step by step: for agent_process_test.py.

A request's `input.steps` is a list of [verb, argument…]. What it is sent is kept in the file `seen`, one line each,
and the number of each process in `pids`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

lock = threading.Lock()


def note(name, text):
    with open(name, "a") as file:
        file.write(text + "\n")


def write(text):
    with lock:
        sys.stdout.write(text)
        sys.stdout.flush()


class Steps:
    """Each method is a verb."""

    def __init__(self, run_id):
        self.run_id = run_id

    def event(self, kind, **data):
        write(json.dumps({"run_id": self.run_id, "type": kind, **data}) + "\n")

    def say(self, kind, data):
        self.event(kind, **data)

    def raw(self, text):
        write(text.replace("RUN_ID", self.run_id))

    def long(self, size, run_id=True):
        write((json.dumps({"run_id": self.run_id})[:-1] if run_id else "") + "z" * size + "\n")

    def deltas(self, count, size=0):
        for i in range(count):
            self.event("agent_delta", text=f"{i};" + "x" * size)
            if i % 100 == 0:
                note("progress", str(i))

    def done(self, response=None):
        self.event("agent_completed", response=response)

    def wait(self, name):
        while not os.path.exists(name):
            time.sleep(0.01)

    def note(self, name):
        note(name, str(os.getpid()))

    def sleep(self, seconds):
        time.sleep(seconds)

    def exit(self, status):
        os._exit(status)

    def signal(self, number):
        os.kill(os.getpid(), number)
        time.sleep(100)

    def words(self, text, times=1):
        for _ in range(times):
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def flood(self, text, times):
        for _ in range(times):
            write(text * 100)

    def close_output(self):
        os.close(1)

    def stop_reading(self):
        os.kill(os.getpid(), signal.SIGSTOP)

    def grandchild(self):
        process = subprocess.Popen(["sleep", "1000"])
        note("pids", str(process.pid))

    def facts(self):
        fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
        self.event(
            "agent_completed",
            response={"env": dict(os.environ), "fds": fds, "cwd": os.getcwd(), "arguments": sys.argv[1:]},
        )


def work(request):
    steps = Steps(request["run_id"])
    for verb, *arguments in request["input"]["steps"]:
        getattr(steps, verb)(*arguments)


def main():
    note("pids", str(os.getpid()))
    for argument in sys.argv[1:]:
        if argument == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif argument == "dies":
            sys.exit(7)
        elif argument == "mute":
            time.sleep(1000)
    for line in sys.stdin:
        note("seen", line.rstrip("\n"))
        request = json.loads(line)
        if request["type"] == "agent_execution":
            threading.Thread(target=work, args=(request,), daemon=True).start()
    if "deaf" in sys.argv:
        time.sleep(1000)


main()
