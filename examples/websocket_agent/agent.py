#!/usr/bin/env python3
"""An agent that speaks WebSocket: rolls dice, one after the other. Needs python3-websockets.

    python3 examples/websocket_agent/agent.py [--port 8091] [--key KEY]

Each run is one message that comes and several that go back, one JSON object each. Several runs may come on
one connection, one after the other.
"""

import argparse
import asyncio
import hmac
import json
import random
import re

import websockets

ROLLS = re.compile(r"(\d{1,2})d(\d{1,3})", re.I)


async def run_agent(request, send):
    """The agent itself: `send` tells what it does, as it does it."""
    wanted = ROLLS.fullmatch(str(request.get("message")).strip())
    if not wanted or 0 in (int(number) for number in wanted.groups()):
        await send("agent_error", code="not_dice", message="Say how many of which dice, such as 3d6.")
        return
    count, sides = int(wanted[1]), int(wanted[2])
    await send("agent_thinking", text=f"{request['user_id']} wants {count} dice rolled.")
    total = 0
    for i in range(count):
        call = {"tool_call_id": f"die-{i}", "name": "roll"}
        await send("tool_executing", **call, arguments={"sides": sides})
        await asyncio.sleep(request["input"].get("pause", 0.05))
        rolled = random.randint(1, sides)
        await send("tool_completed", **call, result=rolled)
        await send("agent_delta", text=f"{rolled} ")
        total += rolled
    await send("agent_completed", response=f"{total} in all")


async def answer(ws, request):
    """One run, from its request to its last event."""

    async def send(kind, **data):
        await ws.send(json.dumps({"type": kind, "run_id": request["run_id"], "data": data}))

    try:
        await run_agent(request, send)
    except (asyncio.CancelledError, websockets.ConnectionClosed):
        # The client has cancelled, or is gone.
        print("stopped", request["run_id"], flush=True)


def headers_of(ws):
    """Of the upgrade, in old and new versions of the library."""
    request = getattr(ws, "request", None)
    return request.headers if request is not None else ws.request_headers


async def serve_connection(ws, key):
    if key and not hmac.compare_digest(headers_of(ws).get("Authorization", ""), f"Bearer {key}"):
        await ws.close(4401, "wrong key")
        return
    run = None
    try:
        async for text in ws:
            message = json.loads(text)
            if message["type"] == "agent_execution":
                run = asyncio.ensure_future(answer(ws, message))
            elif message["type"] == "agent_cancel" and run:
                run.cancel()
    except websockets.ConnectionClosed:
        pass
    if run:
        run.cancel()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8091, help="0: any free one")
    parser.add_argument("--key", default="", help="that connections must carry as their bearer token")
    arguments = parser.parse_args()

    async def handler(ws, _path=None):
        await serve_connection(ws, arguments.key)

    async with websockets.serve(handler, "127.0.0.1", arguments.port) as server:
        port = list(server.sockets)[0].getsockname()[1]
        print(f"listening ws://127.0.0.1:{port}/run", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
