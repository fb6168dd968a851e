#!/usr/bin/env python3
"""An agent as a web service: counts the words of a text. Python's standard library is all that it needs.

    python3 examples/http_agent/agent.py [--port 8090] [--key KEY]

Each run is one POST; the answer is a stream of server-sent events, one JSON object each. Anything that
can write to a socket can do the same.
"""

import argparse
import hmac
import json
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def count_words(text):
    return Counter(word.strip(".,;:!?").lower() for word in text.split()).most_common(3)


def run_agent(request, send):
    """The agent itself: `send` tells what it does, as it does it."""
    message = request.get("message")
    if not isinstance(message, str) or not message.strip():
        send("agent_error", code="empty_message", message="There is nothing to count.")
        return

    send("agent_thinking", text=f"{request['user_id']} wants words counted.")
    call = {"tool_call_id": "count", "name": "count_words"}
    send("tool_executing", **call, arguments={"text": message})
    words = count_words(message)
    send("tool_completed", **call, result=dict(words))

    answer = f"{len(message.split())} words, most of them: " + ", ".join(word for word, _ in words)
    for piece in answer.split(" "):
        send("agent_delta", text=piece + " ")
        time.sleep(request.get("input", {}).get("pause", 0.05))
    send("agent_completed", response=answer)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        wanted = "Bearer " + self.server.key
        if self.server.key and not hmac.compare_digest(self.headers.get("Authorization", ""), wanted):
            self.send_error(401)
            return
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()

        def send(kind, **data):
            self.wfile.write(f"data: {json.dumps({'type': kind, **data})}\n\n".encode())

        try:
            run_agent(request, send)
        except ConnectionError:
            # The client has cancelled, or is gone: the gate has closed this request.
            print("stopped", request["run_id"], flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8090, help="0: any free one")
    parser.add_argument("--key", default="", help="that requests must carry as their bearer token")
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.daemon_threads = True
    server.key = arguments.key
    print(f"listening http://127.0.0.1:{server.server_port}/run", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
