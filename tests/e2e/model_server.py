#!/usr/bin/env python3
"""A stand-in for a model's server: the streaming protocol of chat completions, without a model.

For people who try the examples, on a port of its own, with the simple `think` below as the model:

    python3 tests/e2e/model_server.py --port 8000

For tests, which say what is sent, in what pieces, and where it breaks off:

    server = await ModelServer.start(lambda request, number: Reply([delta("Hello"), stop()]))
"""

import argparse
import asyncio
import json
import re

HEAD_MAX = 2**16
BODY_MAX = 2**26


# --- what a server says, event by event ------------------------------------------------------------------
def chunk(delta=None, finish=None, **more):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], **more}


def delta(text):
    return chunk({"content": text})


def thought(text):
    return chunk({"reasoning_content": text})


def stop(reason="stop"):
    return chunk(finish=reason)


def call(index, name=None, arguments="", id=None):
    """A piece of a call: the first one has its name."""
    piece = {"index": index, "function": {"arguments": arguments}}
    if name:
        piece.update(id=id or f"call_{index}", type="function")
        piece["function"]["name"] = name
    return chunk({"tool_calls": [piece]})


def usage(prompt, completion):
    total = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": total}


class Reply:
    """An answer. events: objects, or texts that are sent as they are.

    piece: bytes in one piece of the body; 0: an event in one piece.
    cut: after this many bytes of the body the answer breaks off in the way that `end` says:
    "reset" (of the connection), "close" (in the middle of the body), "end" (of the body, in order),
    "stall" (nothing more is sent, and the connection stays)."""

    def __init__(self, events=(), done=True, status=200, headers=(), body=None, piece=0, cut=None, end="reset"):
        self.status = status
        self.headers = list(headers)
        self.body = body
        self.piece = piece
        self.cut = cut
        self.end = end
        self.parts = [
            (event if isinstance(event, str) else f"data: {json.dumps(event, ensure_ascii=False)}\n\n").encode()
            for event in events
        ]
        if done:
            self.parts.append(b"data: [DONE]\n\n")

    def boundaries(self):
        """The lengths of the body after each event."""
        lengths = [0]
        for part in self.parts:
            lengths.append(lengths[-1] + len(part))
        return lengths

    def pieces(self):
        body = b"".join(self.parts)
        if self.cut is not None:
            body = body[: self.cut]
        if self.piece:
            return [body[at : at + self.piece] for at in range(0, len(body), self.piece)]
        pieces, at = [], 0
        for part in self.parts:
            pieces.append(body[at : at + len(part)])
            at += len(part)
        return [piece for piece in pieces if piece]


class ModelServer:
    """reply(request, number) says how the request of that number, counted from 1, is answered; None: not at all, the
    connection is reset."""

    def __init__(self, reply):
        self.reply = reply
        self.requests = []  # their JSON
        self.keys = []  # their Authorization
        self.connections = 0
        self.open = 0
        self._changed = asyncio.Condition()
        self._tasks = set()

    @classmethod
    async def start(cls, reply, port=0):
        self = cls(reply)
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=HEAD_MAX)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def stop(self):
        self.server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition, timeout):
        """Waits until the condition, asked whenever a connection or request comes or goes, is true."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(condition), timeout)

    async def _tell(self):
        async with self._changed:
            self._changed.notify_all()

    async def _read(self, reader):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = {}
        for line in head[1:]:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        if length > BODY_MAX:
            raise ConnectionError("too large")
        return head[0].split(" "), headers, await reader.readexactly(length)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()
            await self._tell()

    async def _exchange(self, reader, writer):
        """One request and its answer. False: the connection is over."""
        (method, path, _), headers, body = await self._read(reader)
        if (method, path.split("?")[0]) != ("POST", "/v1/chat/completions"):
            await self._whole(writer, Reply(status=404, body="POST /v1/chat/completions"))
            return True
        self.requests.append(json.loads(body))
        self.keys.append(headers.get("authorization"))
        await self._tell()
        reply = self.reply(self.requests[-1], len(self.requests))
        if reply is None:
            writer.transport.abort()
            return False
        sending = asyncio.ensure_future(self._send(writer, reply))
        leaving = asyncio.ensure_future(reader.read(1))  # nobody sends a request before the answer's end
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                return False  # the client has gone
            goes_on = sending.result()
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        return goes_on

    async def _whole(self, writer, reply):
        body = reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode()
        kind = [] if isinstance(reply.body, str) else ["Content-Type: application/json"]
        head = [f"HTTP/1.1 {reply.status} Answer", f"Content-Length: {len(body)}", *kind, *reply.headers]
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await writer.drain()

    async def _send(self, writer, reply):
        if reply.body is not None:
            await self._whole(writer, reply)
            return True
        head = [f"HTTP/1.1 {reply.status} Answer", "Content-Type: text/event-stream", "Transfer-Encoding: chunked"]
        writer.write("\r\n".join([*head, *reply.headers, "", ""]).encode())
        pieces = reply.pieces()
        whole = reply.cut is None or reply.end == "end"
        for number, piece in enumerate(pieces, 1):
            end = b"0\r\n\r\n" if whole and number == len(pieces) else b""
            writer.write(b"%x\r\n%s\r\n%s" % (len(piece), piece, end))
            await writer.drain()
        if whole and pieces:
            return True
        if reply.cut is not None and reply.end == "reset":
            writer.transport.abort()
            return False
        if reply.cut is not None and reply.end == "close":
            return False
        if reply.cut is not None and reply.end == "stall":
            await asyncio.Event().wait()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


# --- for people ------------------------------------------------------------------------------------------
def words(text):
    return [delta(word) for word in re.findall(r"\S+\s*", text)]


def think(request, number=0):
    """The simplest model: calculates and counts with the tools it is offered, and says the rest back."""
    last = request["messages"][-1]
    offered = {tool["function"]["name"] for tool in request.get("tools") or []}
    if last["role"] == "tool":
        asked = max(i for i, message in enumerate(request["messages"]) if message.get("tool_calls"))
        results = [message["content"] for message in request["messages"][asked + 1 :]]
        return Reply([*words("The tools say: " + ", ".join(results)), stop(), usage(20, 5)])
    calls = []
    sums = re.search(r"\d[\d\s.+*/()^-]*[\d)]", last["content"])
    if sums and "calculator" in offered:
        calls.append(("calculator", {"expression": sums[0].strip()}))
    if "word" in last["content"] and "word_count" in offered:
        calls.append(("word_count", {"text": last["content"]}))
    if not calls:
        said = sum(message["role"] == "user" for message in request["messages"])
        return Reply([thought("Hm."), *words(f"You said: {last['content']} ({said})"), stop(), usage(10, 5)])
    events = []
    for index, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        middle = len(text) // 2
        events += [call(index, name, text[:middle], f"call_{number}_{index}"), call(index, arguments=text[middle:])]
    return Reply([*events, stop("tool_calls"), usage(15, 5)])


async def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--port", type=int, default=8000)
    server = await ModelServer.start(think, options.parse_args().port)
    print("model", server.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
