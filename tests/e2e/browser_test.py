"""A page in a real browser: headless Chromium connects, runs an agent, and shows what it got.

The page is served from loopback and is loaded only when its work is done, because the last thing in it is a
script that this file does not send before; so --dump-dom prints the finished page. Skipped without
Chromium (Debian package `chromium`).
"""

import asyncio
import html
import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from browsers import CHROMIUM, Pages, dump_dom
from harness import ROOT, ServerTest, open_policy

POLICY = open_policy(
    """
    policy.agents = {
      supervisor = function(run, input)
        run:thinking("looking it up")
        run:tool("search", { q = input.message }, function() return { hits = 2 } end)
        for word in input.message:gmatch("%S+") do run:delta(word .. " ") end
        return string.rep(input.message .. " ", 200)
      end,
    }
    """
)

PAGE = """<!doctype html>
<title>waiting</title>
<pre id="events"></pre>
<script>
const events = [];
const socket = new WebSocket(%(url)s, ["tidegate.v1"]);
let over;
window.done = new Promise((resolve) => { over = resolve; });
socket.onmessage = (message) => {
  const event = JSON.parse(message.data);
  events.push(event);
  if (event.type === "connection_ready")
    socket.send(JSON.stringify({ type: "agent_execution", id: "r1", data: { message: "good day €𝄞" } }));
  if (event.type === "agent_completed")
    socket.close(4000, "enough");
};
socket.onclose = (close) => {
  const result = { events, code: close.code, reason: close.reason, clean: close.wasClean,
    protocol: socket.protocol, extensions: socket.extensions, origin: location.origin };
  document.getElementById("events").textContent = JSON.stringify(result);
  document.title = "done";
  fetch("/done", { method: "POST" });
};
</script>
<script src="/wait.js"></script>
"""


class Site(Pages):
    """The page, under an origin of its own."""

    def __init__(self):
        self.url = None  # of the WebSocket
        super().__init__()

    def page(self):
        return PAGE % {"url": json.dumps(self.url)}

    def take(self, path, body):
        self.finished.set()


@unittest.skipUnless(CHROMIUM, "there is no browser: install the Debian package chromium")
class Browser(ServerTest):
    def setUp(self):
        self.site = Site()
        self.addCleanup(self.site.close)

    async def visit(self, server, *flags):
        """What the page saw of this server."""
        self.site.url = server.url
        page = await asyncio.to_thread(dump_dom, self.site.origin + "/", *flags)
        self.assertIn("<title>done</title>", page)
        found = re.search(r'<pre id="events">(.*)</pre>', page, re.S)
        return json.loads(html.unescape(found[1]))

    def check_run(self, result):
        self.assertEqual(result["events"][0]["type"], "connection_ready")
        events = result["events"][1:]
        self.assert_events(events, "supervisor")
        self.assert_seq(events)
        self.assertEqual(events[0]["data"]["request_id"], "r1")
        self.assertEqual("".join(e["data"]["text"] for e in events if e["type"] == "agent_delta"), "good day €𝄞 ")
        self.assertEqual(events[-1]["data"]["response"], "good day €𝄞 " * 200)
        self.assertEqual((result["code"], result["reason"], result["clean"]), (4000, "enough", True))
        self.assertEqual(result["protocol"], "tidegate.v1")

    async def test_a_page_runs_an_agent(self):
        server = await self.serve(POLICY, "--set", f"allowed_origins={self.site.origin}")
        result = await self.visit(server)
        self.check_run(result)
        self.assertEqual(result["extensions"], "")
        await server.wait_log(r"conn\.close .*code=4000 reason=enough .*clean=true")

    async def test_a_page_of_another_origin_is_refused(self):
        server = await self.serve(POLICY, "--set", "allowed_origins=https://app.example")
        result = await self.visit(server)
        self.assertEqual((result["events"], result["code"], result["clean"]), ([], 1006, False))
        await server.wait_log(r"conn\.refused .*status=403")

    async def test_a_page_with_compression(self):
        server = await self.serve(POLICY, "--set", "compression.enabled=true", "--set", "compression.min_size=64")
        result = await self.visit(server)
        self.check_run(result)
        self.assertIn("permessage-deflate", result["extensions"])
        stages = [await server.metric(f'tidegate_compression_bytes_total{{direction="out",stage="{stage}"}}')
                  for stage in ("plain", "compressed")]
        self.assertGreater(stages[0], 2 * stages[1])

    async def test_a_page_over_tls_with_compression(self):
        folder = Path(tempfile.mkdtemp(prefix="tidegate-browser-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        subprocess.run(["sh", str(ROOT / "tests/support/certificates.sh"), str(folder)], check=True)
        server = await self.serve(
            POLICY, "--set", f"tls.certificate={folder}/server.pem", "--set", f"tls.key={folder}/server.key",
            "--set", "compression.enabled=true",
        )
        self.assertTrue(server.url.startswith("wss://"))
        # Without this flag the browser must not trust a CA that it does not know.
        refused = await self.visit(server)
        self.assertEqual((refused["events"], refused["code"]), ([], 1006))
        self.site.finished.clear()
        result = await self.visit(server, "--ignore-certificate-errors")
        self.check_run(result)
        self.assertIn("permessage-deflate", result["extensions"])


if __name__ == "__main__":
    unittest.main()
