"""examples/browser as a person uses it: headless Chromium loads its page, fills in forms, presses buttons, reads.

The page is the file as it is; a script behind it plays the person. It may ask this test to do something
(`tell`) and ends with a report of what it saw. Skipped without Chromium.
"""

import asyncio
import contextlib
import json
import tempfile
import unittest
from pathlib import Path

from browsers import CHROMIUM, Pages, dump_dom
from harness import DEADLINE, ROOT, ServerTest

EXAMPLE = ROOT / "examples/browser"
LONG = ("--set", "options.lifetime=3600")

# What a person does and sees. `until` looks again whenever the page changes.
PERSON = """
(async () => {
const text = (id) => document.getElementById(id).textContent;
const fill = (id, value) => { document.getElementById(id).value = value; };
const press = (id) => {
  const button = document.getElementById(id);
  if (button.disabled) throw new Error(id + " is disabled");
  button.click();
};
const until = (what, condition) => new Promise((resolve, reject) => {
  const look = () => { if (condition()) { observer.disconnect(); clearTimeout(timer); resolve(); } };
  const observer = new MutationObserver(look);
  const timer = setTimeout(() => { observer.disconnect(); reject(new Error(
    "never came: " + what + "\\n" + document.body.innerText)); }, %(deadline)d);
  observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  look();
});
const state = (wanted) => until("state " + wanted, () => text("state") === wanted);
const tell = (path, body) => fetch(%(origin)s + path, { method: "POST", mode: "no-cors", body });
const connect = async (url, token, how = "message") => {
  fill("url", url); fill("token", token); fill("how", how); press("open");
};
const ask = (message, agent = "guide") => { fill("message", message); fill("agent", agent); press("send"); };
const newest = (part) => {
  const found = document.querySelector("#runs article ." + part);
  return found ? found.textContent : "";
};
const events = () => [...document.querySelectorAll("#events li")].map((item) => item.textContent.split(" ")[0]);
const url = %(url)s;
let report;
try { report = await (async () => { %(story)s })(); } catch (error) { report = { gave_up: String(error) }; }
await tell("/report", JSON.stringify(report));
})();
"""


class Site(Pages):
    """The example's page with a person behind it, and whom that one tells."""

    def __init__(self, errands):
        """errands: path to an async function, which is done before the person goes on."""
        self.errands = errands
        self.person = ""  # a script
        self.report = None
        self._loop = asyncio.get_running_loop()
        super().__init__()

    def page(self):
        scripts = "".join(f'<script src="{self.origin}/{name}.js"></script>\n' for name in ("person", "wait"))
        return (EXAMPLE / "index.html").read_text().replace("</html>", scripts + "</html>")

    def script(self, name):
        return self.person

    def take(self, path, body):
        if path == "/report":
            self.report = json.loads(body)
            self.finished.set()
        else:
            asyncio.run_coroutine_threadsafe(self.errands[path](), self._loop).result(DEADLINE)


class Network:
    """What lies between the page and the server, and can be cut."""

    def __init__(self, server):
        self.server = server
        self.whole = True
        self.writers = []

    async def start(self):
        self._listener = await asyncio.start_server(self.carry, "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}"

    async def carry(self, reader, writer):
        if not self.whole:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self.server.host, self.server.port)
        self.writers += [writer, back]
        await asyncio.gather(self.pump(reader, back), self.pump(there, writer))

    async def pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def cut(self):
        self.whole = False
        for writer in self.writers:
            writer.transport.abort()

    async def mend(self):
        self.whole = True

    async def stop(self):
        await self.cut()
        self._listener.close()


@unittest.skipUnless(CHROMIUM, "there is no browser: install the Debian package chromium")
class BrowserExample(ServerTest):
    async def visit(self, url, story, errands=None, from_file=False):
        """What the person reports after the story, which is JavaScript."""
        site = Site(errands or {})
        self.addCleanup(site.close)
        site.person = PERSON % {
            "origin": json.dumps(site.origin), "url": json.dumps(url), "story": story,
            "deadline": int(3 * DEADLINE * 1000),
        }
        with tempfile.TemporaryDirectory(prefix="tidegate-page-") as folder:
            path = Path(folder) / "index.html"
            path.write_text(site.page())
            address = path.as_uri() if from_file else site.origin + "/"
            await asyncio.to_thread(dump_dom, address)
        self.assertIsNotNone(site.report, "the page was left before its person was done")
        if isinstance(site.report, dict) and "gave_up" in site.report:
            self.fail(site.report["gave_up"])
        return site.report

    async def test_connects_says_who_and_where_and_shows_a_run_as_text(self):
        server = await self.serve(EXAMPLE, *LONG)
        report = await self.visit(server.url, """
            const before = { state: text("state"), send: document.getElementById("send").disabled };
            connect(url, "demo-key");
            await state("processing_ready");
            const who = { id: text("connection-id"), user: text("user") };
            ask("<img src=x onerror=boom()> good day");
            await until("a piece of the answer", () => newest("answer") !== "");
            const streaming = { answer: newest("answer"), status: newest("status") };
            await until("the end", () => newest("status").startsWith("completed"));
            ask("  ", "guide");
            await until("its failure", () => newest("status").startsWith("bad_question"));
            const failed = newest("status");
            ask("Hello", "nobody");
            await until("a refusal", () => text("notice") !== "");
            const runs = [...document.querySelectorAll("#runs article")];
            const part = (name) => runs[runs.length - 1].querySelector("." + name).textContent;
            const unlabelled = [...document.querySelectorAll("input, select")]
              .filter((field) => !field.labels.length || !field.labels[0].textContent.trim()).length;
            const report = { before, who, streaming, failed, refusal: text("notice"), events: events(),
              question: part("question"), thinking: part("thinking"), tools: part("tools"), answer: part("answer"),
              buttons: document.querySelectorAll(".cancel").length, unlabelled,
              images: document.querySelectorAll("img").length };
            press("close");
            await state("closed");
            report.closed = text("notice");
            return report;
        """)
        said = "<img src=x onerror=boom()> good day"
        answer = "Hello ada, that was 5: " + said
        self.assertEqual(report["before"], {"state": "not connected", "send": True})
        self.assertEqual(report["who"]["user"], "ada")
        await server.wait_log(rf"conn\.close .*id={report['who']['id']}.*code=1000 reason=\"?the user left")
        self.assertEqual(report["question"], said)
        self.assertEqual(report["thinking"], "Counting the words first.\n")
        self.assertRegex(report["tools"], r'^count_words \{"text":.*\} … \{"words":5\} \([0-9.]+ ms\)$')
        self.assertTrue(answer.startswith(report["streaming"]["answer"]), report["streaming"])
        self.assertEqual(report["answer"], answer)
        self.assertEqual(report["failed"], "bad_question: write at least one word")
        self.assertRegex(report["refusal"], r"^unknown_agent: ")
        self.assertEqual((report["images"], report["buttons"], report["unlabelled"]), (0, 0, 0))
        self.assertEqual(report["events"][:5], ["connection_ready", "agent_started", "agent_thinking",
                                                "tool_executing", "tool_completed"])
        self.assertEqual(report["events"].count("agent_delta"), 6)
        self.assertEqual(report["closed"], "Closed with 1000: the user left")

    async def test_cancels_a_run_in_the_middle_of_its_answer(self):
        server = await self.serve(EXAMPLE, *LONG)
        report = await self.visit(server.url, """
            connect(url, "demo-key");
            await state("processing_ready");
            ask("word ".repeat(2000));
            await until("a piece of the answer", () => newest("answer") !== "");
            document.querySelector(".cancel").click();
            await until("the end", () => newest("status") !== "running");
            return { status: newest("status"), answer: newest("answer"), state: text("state"), events: events() };
        """)
        self.assertRegex(report["status"], r"^cancelled: ")
        self.assertEqual(report["state"], "processing_ready")
        self.assertEqual(report["events"][-1], "agent_error")
        self.assertTrue(report["answer"].startswith("Hello ada, that was 2000:"))
        self.assertLess(report["answer"].count("word"), 2000)

    async def test_proves_itself_again_when_it_is_told_to(self):
        # The notice comes a second after the identity was given, long before its end.
        server = await self.serve(EXAMPLE, *LONG, "--set", "limits.expiry_notice=3599s")
        report = await self.visit(server.url, """
            connect(url, "demo-key");
            await until("a notice", () => text("notice") !== "");
            const notice = text("notice");
            const id = text("connection-id");
            press("renew");
            await until("the renewal", () => text("notice") === "");
            const renewed = { id: text("connection-id"), expires: text("expires"), state: text("state") };
            fill("token", "other-key");  // of somebody else
            press("renew");
            await state("closed");
            return { notice, id, renewed, closed: text("notice"), events: events() };
        """)
        self.assertIn("about to end", report["notice"])
        self.assertEqual(report["renewed"]["id"], report["id"])
        self.assertEqual(report["renewed"]["state"], "processing_ready")
        self.assertRegex(report["renewed"]["expires"], r"\d:\d\d")
        self.assertEqual(report["events"][:3], ["connection_ready", "auth_expiring", "authenticated"])
        self.assertNotIn("authenticated", report["events"][3:])
        self.assertRegex(report["closed"], r"^Closed with \d{4}: ")

    async def test_shows_why_it_is_not_let_in_or_let_out_again(self):
        server = await self.serve(EXAMPLE, "--set", "options.lifetime=2", "--set", "limits.expiry_notice=100ms")
        report = await self.visit(server.url, """
            const seen = [];
            connect("nonsense://", "demo-key");
            seen.push(text("notice") !== "" && text("state"));
            for (const how of ["message", "subprotocol"]) {
              connect(url, "wrong-kéy", how);
              await state("closed");
              seen.push(text("notice"), text("user"));
            }
            connect(url, "other-key", "subprotocol");
            await until("a name", () => text("user") !== "–");
            seen.push(text("user"));
            await state("closed");
            seen.push(text("notice"));
            return seen;
        """)
        self.assertEqual(report[0], "not connected")
        self.assertEqual(report[1:6], ["Closed with 4401: the key is malformed", "–"] * 2 + ["bob"])
        self.assertRegex(report[6], r"^Closed with 4401: .*expired")

    async def test_loses_its_server_and_finds_it_again(self):
        server = await self.serve(EXAMPLE, *LONG)
        network = Network(server)
        await network.start()
        self.addAsyncCleanup(network.stop)
        report = await self.visit(network.url, """
            connect(url, "demo-key");
            await state("processing_ready");
            const first = text("connection-id");
            ask("word ".repeat(2000));
            await until("a piece of the answer", () => newest("answer") !== "");
            await tell("/cut");
            await state("closed");
            const lost = { notice: text("notice"), run: newest("status"),
              cancels: document.querySelectorAll(".cancel").length };
            press("reconnect");
            await state("connecting");
            await state("closed");
            const refused = text("notice");
            await tell("/mend");
            press("reconnect");
            await state("processing_ready");
            ask("again");
            await until("an answer", () => newest("status").startsWith("completed"));
            return { first, lost, refused, second: text("connection-id"), answer: newest("answer") };
        """, {"/cut": network.cut, "/mend": network.mend})
        gone = "Closed with 1006: the connection was lost or refused"
        self.assertEqual(report["lost"], {"notice": gone, "run": "connection closed", "cancels": 0})
        self.assertEqual(report["refused"], gone)
        self.assertNotEqual(report["first"], report["second"])
        self.assertEqual(report["answer"], "Hello ada, that was 1: again")

    async def test_works_when_it_is_opened_as_a_file(self):
        server = await self.serve(EXAMPLE, *LONG)
        report = await self.visit(server.url, """
            connect(url, "demo-key");
            await state("processing_ready");
            return { user: text("user"), origin: location.origin };
        """, from_file=True)
        self.assertEqual((report["user"], report["origin"]), ("ada", "file://"))


class Page(unittest.TestCase):
    def test_loads_nothing_and_writes_no_html(self):
        page = (EXAMPLE / "index.html").read_text()
        for word in ("src=", "href=", "@import", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write",
                     "eval("):
            self.assertNotIn(word, page)


if __name__ == "__main__":
    unittest.main()
