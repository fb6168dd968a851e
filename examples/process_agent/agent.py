#!/usr/bin/env python3
"""An agent as a child process: looks at the numbers in a text. Python's standard library is all that it needs.

Tidegate starts it with the first run, sends a line of JSON for each run, and reads lines of JSON, each one event of
the run that its run_id names. Several runs may be under way at a time. Anything that can read and write lines can do
the same; what goes to standard error is logged.
"""

import asyncio
import json
import re
import sys


def send(run_id, kind, **data):
    """One event of a run."""
    print(json.dumps({"run_id": run_id, "type": kind, **data}), flush=True)


async def run_agent(run_id, request):
    """The agent itself: tells what it does, as it does it."""
    numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", request.get("message") or "")]
    if not numbers:
        send(run_id, "agent_error", code="no_numbers", message="There is no number in that.")
        return

    send(run_id, "agent_thinking", text=f"{request['user_id']} has {len(numbers)} numbers.")
    call = {"tool_call_id": "sum", "name": "sum"}
    send(run_id, "tool_executing", **call, arguments=numbers)
    total = sum(numbers)
    send(run_id, "tool_completed", **call, result=total)

    answer = f"{len(numbers)} numbers, from {min(numbers):g} to {max(numbers):g}, together {total:g}"
    for piece in answer.split(" "):
        send(run_id, "agent_delta", text=piece + " ")
        await asyncio.sleep(request["input"].get("pause", 0.05))
    send(run_id, "agent_completed", response=answer)


async def answer(request):
    try:
        await run_agent(request["run_id"], request)
    except asyncio.CancelledError:
        print("stopped", request["run_id"], file=sys.stderr)
    except Exception as error:
        send(request["run_id"], "agent_error", code="failed", message="The agent has failed.")
        print(repr(error), file=sys.stderr)


async def main():
    runs = {}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):  # "": the end, and ours
        message = json.loads(line)
        run_id = message["run_id"]
        if message["type"] == "agent_execution":
            runs[run_id] = asyncio.create_task(answer(message))
            runs[run_id].add_done_callback(lambda _, run_id=run_id: runs.pop(run_id))
        elif message["type"] == "agent_cancel" and run_id in runs:
            runs[run_id].cancel()


if __name__ == "__main__":
    asyncio.run(main())
