#!/usr/bin/env python3
"""tidegate.http: requests of policies to real servers, whole answers, streams, failures, limits, and what
becomes of a request whose script is gone."""

import asyncio
import contextlib
import gzip
import json
import shutil
import signal
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness import DEADLINE, ROOT, Client, ServerTest, open_policy
from upstream import Upstream

POLICY = open_policy(
    """
    local http = require "tidegate.http"
    policy.agents = {}
    function policy.agents.fetch(run, input)
      local r, err, code = http.request(input.req)
      if not r then return { err = err, code = code } end
      return {
        status = r.status, ok = r.ok, body = r.body, headers = r.headers, url = r.url,
        version = r.http_version, cookies = r:header_list("Set-Cookie"),
      }
    end
    local function open(input)
      input.req = tide.copy(input.req)
      input.req.stream = true
      return assert(http.request(input.req))
    end
    local function finish(r, result)
      local err, code = r:error()
      result.err, result.code, result.status = err, code, r.status
      return result
    end
    function policy.agents.lines(run, input)
      local r, n = open { req = input.req }, 0
      for line in r:lines() do n = n + 1; run:delta(line) end
      return finish(r, { n = n })
    end
    function policy.agents.events(run, input)
      local r, list = open { req = input.req }, {}
      for event in r:events() do
        list[#list + 1] = event
        run:delta(event.data)
      end
      return finish(r, { list = list })
    end
    function policy.agents.read(run, input)
      local r, sizes, total = open { req = input.req }, {}, 0
      while true do
        local bytes, err, code = r:read(input.max)
        if not bytes then return { sizes = sizes, total = total, err = err, code = code } end
        sizes[#sizes + 1], total = #bytes, total + #bytes
      end
    end
    function policy.agents.rest(run, input)
      local r = open { req = input.req }
      local bytes, err, code = r:read "all"
      return { bytes = bytes, err = err, code = code }
    end
    function policy.agents.hold(run, input)
      local r = open { req = input.req }
      run:delta "held"
      require "tidegate.time".sleep(input.seconds)
      return r.status
    end
    """
)


class HttpTest(ServerTest):
    async def upstream(self, routes, **options):
        upstream = await Upstream.start(routes, **options)
        self.addAsyncCleanup(upstream.stop)
        return upstream

    async def client(self, *args, policy=POLICY, **options):
        server = await self.serve(policy, *args, workers=options.pop("workers", 1), **options)
        return await Client.ready(server), server

    async def start(self, client, agent, req=None, **more):
        await client.send(
            {
                "type": "agent_execution",
                "data": {"message": "go", "agent_type": agent, "req": req, **more},
            }
        )

    async def answer(self, client, agent, req=None, **more):
        """(response of the agent, texts of its deltas)"""
        await self.start(client, agent, req, **more)
        events = await client.until("agent_completed", "agent_error")
        self.assertEqual(events[-1]["type"], "agent_completed", events[-1])
        deltas = [event["data"]["text"] for event in events if event["type"] == "agent_delta"]
        return events[-1]["data"].get("response"), deltas

    async def fetch(self, client, url, **req):
        return (await self.answer(client, "fetch", {"url": url, **req}))[0]

    async def fails(self, client, code, url, **req):
        """The text of a request that must fail so."""
        result = await self.fetch(client, url, **req)
        self.assertEqual(result.get("code"), code, result)
        return result["err"]


async def echo(exchange):
    """What was asked, as JSON."""
    asked = {
        "method": exchange.method,
        "target": exchange.target,
        "headers": exchange.headers,
        "body": exchange.body.decode(),
    }
    await exchange.reply(200, json.dumps(asked), "Content-Type: application/json")


async def never(exchange):
    await asyncio.Event().wait()


class Whole(HttpTest):
    async def test_a_request_carries_what_its_options_say(self):
        upstream = await self.upstream({"*": echo})
        client, _ = await self.client()
        cases = [
            (
                {"query": {"b": "x y&z", "a": [1, True], "ü": "?"}},
                "GET",
                "/?a=1&a=true&b=x%20y%26z&%C3%BC=%3F",
                {},
                "",
            ),
            ({"headers": {"X-One": "1", "X-Two": ["a", 2]}}, "GET", "/", {"x-one": "1", "x-two": "2"}, ""),
            (
                {"method": "POST", "json": {"a": [1, 2]}},
                "POST",
                "/",
                {"content-type": "application/json"},
                '{"a":[1,2]}',
            ),
            (
                {"method": "PUT", "form": {"b": "ü", "a": "1 2"}},
                "PUT",
                "/",
                {"content-type": "application/x-www-form-urlencoded"},
                "a=1%202&b=%C3%BC",
            ),
            ({"method": "PATCH", "body": "plain"}, "PATCH", "/", {"content-length": "5"}, "plain"),
            ({"method": "POST"}, "POST", "/", {"content-length": "0"}, ""),
            ({"method": "DELETE", "bearer": "t0ken"}, "DELETE", "/", {"authorization": "Bearer t0ken"}, ""),
            ({"basic": ["ada", "pa:ss"]}, "GET", "/", {"authorization": "Basic YWRhOnBhOnNz"}, ""),
            ({"headers": {"User-Agent": "mine", "X-Empty": ""}}, "GET", "/", {"user-agent": "mine", "x-empty": ""}, ""),
        ]
        for req, method, target, headers, body in cases:
            with self.subTest(req):
                result = await self.fetch(client, upstream.url("/"), **req)
                asked = json.loads(result["body"])
                self.assertEqual((asked["method"], asked["target"], asked["body"]), (method, target, body))
                for name, value in headers.items():
                    self.assertEqual(asked["headers"].get(name), value, name)
                self.assertNotIn("expect", asked["headers"])
        untyped = await self.fetch(client, upstream.url("/"), method="POST", body="x")
        self.assertNotIn("content-type", json.loads(untyped["body"])["headers"])

    async def test_the_response_has_what_the_server_said(self):
        async def answer(exchange):
            await exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            await exchange.reply(
                404, "nothing here", "X-A: 1", "x-a: 2", "Set-Cookie: a=1, b", "Set-Cookie: c=2", "X-Fold: one\r\n two"
            )

        upstream = await self.upstream({"*": answer})
        client, _ = await self.client()
        result = await self.fetch(client, upstream.url("/x?q=1"))
        self.assertEqual((result["status"], result["ok"], result["body"]), (404, False, "nothing here"))
        self.assertEqual((result["url"], result["version"]), (upstream.url("/x?q=1"), "1.1"))
        self.assertEqual(result["headers"]["x-a"], "1, 2")
        self.assertEqual(result["headers"]["x-fold"], "one two")
        self.assertNotIn("link", result["headers"])
        self.assertEqual(result["cookies"], ["a=1, b", "c=2"])
        self.assertEqual(result["headers"]["set-cookie"], "a=1, b")
        self.assertEqual((await self.fetch(client, upstream.url("/"), method="HEAD"))["body"], "")

    async def test_a_connection_serves_one_request_after_another(self):
        upstream = await self.upstream({"*": echo})
        client, _ = await self.client()
        for _ in range(5):
            self.assertEqual((await self.fetch(client, upstream.url()))["status"], 200)
        self.assertEqual(len(upstream.connections), 1)

    async def test_a_connection_that_the_server_closed_is_replaced(self):
        async def last(exchange):
            await exchange.reply(200, "x")
            return "close"

        upstream = await self.upstream({"*": last})
        client, _ = await self.client()
        for _ in range(3):
            result = await self.fetch(client, upstream.url())
            self.assertEqual(result.get("body"), "x", result)

    async def test_a_connection_that_the_server_resets_instead_of_an_answer_is_replaced(self):
        served = set()

        async def once(exchange):
            if exchange.connection in served:
                exchange.abort()
                return "close"
            served.add(exchange.connection)
            await exchange.reply(200, "x")

        upstream = await self.upstream({"*": once})
        client, _ = await self.client()
        for _ in range(3):
            result = await self.fetch(client, upstream.url())
            self.assertEqual(result.get("body"), "x", result)
        self.assertEqual(len(upstream.connections), 3)

    async def test_an_answer_right_before_a_reset_is_an_answer(self):
        async def refuse(exchange):
            await exchange.reply(413, "too much")
            exchange.abort()
            return "close"

        upstream = await self.upstream({"*": refuse})
        client, _ = await self.client()
        for _ in range(20):
            result = await self.fetch(client, upstream.url())
            self.assertEqual((result.get("status"), result.get("body")), (413, "too much"), result)

    async def test_an_answer_of_many_reads_right_before_a_reset_is_an_answer(self):
        body = "0123456789" * 5000

        async def answer(exchange):
            server.signal(signal.SIGSTOP)  # so that the reset is there before the first read
            try:
                await exchange.reply(200, body)
                await exchange.all_taken()
                exchange.abort()
            finally:
                server.signal(signal.SIGCONT)
            return "close"

        upstream = await self.upstream({"*": answer})
        client, server = await self.client()
        result = await self.fetch(client, upstream.url())
        self.assertEqual((result.get("status"), result.get("body")), (200, body))

    async def test_chunked_and_compressed_bodies_are_decoded(self):
        packed = gzip.compress(b"hello " * 1000)

        async def answer(exchange):
            self.assertIn("gzip", exchange.headers["accept-encoding"])
            await exchange.stream_head("Content-Encoding: gzip")
            for at in range(0, len(packed), 7):
                await exchange.chunk(packed[at : at + 7])
            await exchange.send("0\r\n\r\n")

        upstream = await self.upstream({"*": answer})
        client, _ = await self.client()
        self.assertEqual((await self.fetch(client, upstream.url()))["body"], "hello " * 1000)

    async def test_nothing_of_the_environment_is_used(self):
        upstream = await self.upstream({"*": echo})
        env = {"http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1", "HOME": "/nonexistent"}
        client, _ = await self.client(env=env)
        self.assertEqual((await self.fetch(client, upstream.url()))["status"], 200)

    async def test_two_hundred_at_once_from_one_worker(self):
        arrived, go = asyncio.Event(), asyncio.Event()
        waiting = 0

        async def together(exchange):
            nonlocal waiting
            waiting += 1
            if waiting == 200:
                arrived.set()
            await go.wait()
            await exchange.reply(200, exchange.path)

        upstream = await self.upstream({"*": together})
        client, server = await self.client("--set", "runs.max_per_connection=200")
        for i in range(200):
            await self.start(client, "fetch", {"url": upstream.url(f"/{i}"), "timeout": 60})
        await asyncio.wait_for(arrived.wait(), DEADLINE)
        self.assertEqual((await server.metrics())["tidegate_http_in_flight"], 200)
        go.set()
        bodies = set()
        while len(bodies) < 200:
            events = await client.until("agent_completed", "agent_error")
            bodies.add(events[-1]["data"]["response"]["body"])
        self.assertEqual(bodies, {f"/{i}" for i in range(200)})
        metrics = await server.metrics()
        self.assertEqual(metrics["tidegate_http_in_flight"], 0)
        self.assertEqual(metrics['tidegate_http_requests_total{outcome="ok"}'], 200)
        self.assertEqual(metrics["tidegate_http_duration_seconds_count"], 200)

    async def test_more_requests_than_connections_wait_for_one(self):
        upstream = await self.upstream({"*": echo})
        client, _ = await self.client("--set", "http.max_connections_per_host=2", "--set", "runs.max_per_connection=20")
        for _ in range(20):
            await self.start(client, "fetch", {"url": upstream.url()})
        for _ in range(20):
            events = await client.until("agent_completed", "agent_error")
            self.assertEqual(events[-1]["data"]["response"]["status"], 200)
        self.assertLessEqual(len(upstream.connections), 2)


class Failures(HttpTest):
    async def test_failures_have_a_code_and_a_text_with_the_host(self):
        async def dies(exchange):
            await exchange.head(200, "Content-Length: 100")
            await exchange.send("only this")
            return "close"

        async def resets(exchange):
            await exchange.stream_head()
            await exchange.chunk("x")
            exchange.abort()

        async def no_http(exchange):
            await exchange.send("220 smtp.example ESMTP\r\n")
            return "close"

        async def broken_chunks(exchange):
            await exchange.stream_head()
            await exchange.send("zz\r\nbad\r\n")

        async def flood(exchange):
            await exchange.head(200, *[f"X-{i}: {'y' * 1000}" for i in range(200)])

        upstream = await self.upstream(
            {
                "/dies": dies,
                "/resets": resets,
                "/no": no_http,
                "/chunks": broken_chunks,
                "/flood": flood,
                "/never": never,
                "/ok": echo,
            }
        )

        async def rude(reader, writer):
            await reader.read(10)
            writer.write(b"go away\r\n\r\n")
            writer.close()

        rude_server = await asyncio.start_server(rude, "127.0.0.1", 0)
        self.addCleanup(rude_server.close)
        rude_port = rude_server.sockets[0].getsockname()[1]
        client, server = await self.client()
        cases = [
            ("refused", "http://127.0.0.1:1/?secret=1", {}, "127.0.0.1:1: connection refused"),
            ("resolve", "http://no-such-host.invalid/", {}, "no-such-host.invalid: the name has no address"),
            ("timeout", upstream.url("/never"), {"timeout": 0.2}, "took longer than 200ms"),
            ("timeout", upstream.url("/never"), {"idle_timeout": 0.2}, "sent nothing for 200ms"),
            ("reset", upstream.url("/dies"), {}, "lost in the middle"),
            ("reset", upstream.url("/resets"), {}, "lost in the middle"),
            ("protocol", upstream.url("/no"), {}, "did not answer in HTTP"),
            ("too_large", upstream.url("/flood"), {}, "bytes of headers"),
            ("invalid", "ftp://127.0.0.1/x", {}, "http:// or https://"),
            ("invalid", "/only/a/path", {}, "http:// or https://"),
            ("invalid", upstream.url("/ok").replace("//", "//user:hunter2@"), {}, "holds no password"),
            ("tls", f"https://127.0.0.1:{rude_port}/", {}, ""),
        ]
        for code, url, req, text in cases:
            with self.subTest(url=url, req=req):
                err = await self.fails(client, code, url, **req)
                self.assertIn(text, err)
                for secret in ("secret", "hunter2"):
                    self.assertNotIn(secret, err)
        self.assertIn((await self.fetch(client, upstream.url("/chunks")))["code"], ("reset", "protocol"))
        self.assertEqual((await self.fetch(client, upstream.url("/ok")))["status"], 200)
        metrics = await server.metrics()
        self.assertEqual(metrics['tidegate_http_requests_total{outcome="timeout"}'], 2)
        self.assertEqual(metrics["tidegate_http_in_flight"], 0)

    async def test_a_connection_that_nobody_answers_has_a_deadline(self):
        async def say_nothing(_, writer):
            try:
                await asyncio.sleep(60)
            finally:
                writer.close()  # it would be closed at once if nobody held it

        # The TLS handshake gets no answer.
        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        self.addCleanup(server.close)
        client, _ = await self.client()
        port = server.sockets[0].getsockname()[1]
        err = await self.fails(client, "timeout", f"https://127.0.0.1:{port}/", connect_timeout=0.3)
        self.assertIn("connect_timeout", err)

    async def test_a_body_over_the_limit_is_cut_off(self):
        async def endless(exchange):
            await exchange.stream_head()
            while True:
                await exchange.chunk(b"x" * 65536)

        bomb = gzip.compress(b"\0" * (64 << 20))

        async def explode(exchange):
            await exchange.reply(200, bomb, "Content-Encoding: gzip")

        upstream = await self.upstream({"/endless": endless, "/bomb": explode, "/ok": echo})
        client, server = await self.client()
        for path in ("/endless", "/bomb"):
            self.assertIn("larger than", await self.fails(client, "too_large", upstream.url(path)))
        self.assertIn("1000 bytes", await self.fails(client, "too_large", upstream.url("/endless"), max_response=1000))
        await asyncio.wait_for(upstream.connections[0].gone.wait(), DEADLINE)
        self.assertEqual((await self.fetch(client, upstream.url("/ok")))["status"], 200)

    async def test_what_waits_counts_as_memory_of_the_policy(self):
        async def large(exchange):
            await exchange.reply(200, b"x" * (6 << 20))

        upstream = await self.upstream({"/large": large, "/ok": echo})
        client, _ = await self.client("--set", "script.memory=5MiB")
        self.assertIn("script.memory", await self.fails(client, "too_large", upstream.url("/large")))
        self.assertEqual((await self.fetch(client, upstream.url("/ok")))["status"], 200)

    async def test_mistakes_in_options_raise_at_the_policys_line(self):
        cases = [
            ("http.get()", "http.get: a URL (text) expected, got nil"),
            ("http.get('http://x/', { timout = 1 })", 'there is no option "timout"; did you mean "timeout"?'),
            ("http.get('http://x/', { timeout = '5s' })", "http.get: timeout: seconds, up to 86400, expected, got 5s"),
            ("http.get('http://x/', { timeout = 0 })", "timeout: seconds"),
            ("http.get('http://x/', { url = 'y' })", "options of http.request"),
            ("http.get('http://x/', 5)", "a table of options expected"),
            ("http.get('http://x/', { body = 'x' })", "GET has no body"),
            ("http.post('http://x/', { body = 'x', json = {} })", "exclude each other"),
            ("http.post('http://x/', { json = print })", "json: "),
            ("http.get('http://x/', { bearer = 'a b' })", "bearer: a token without blanks"),
            ("http.get('http://x/', { bearer = 'a', basic = { 'b' } })", "exclude each other"),
            ("http.get('http://x/', { headers = { ['X-A'] = 'a\\r\\nX-B: b' } })", "holds a control character"),
            ("http.get('http://x/', { headers = { ['X A'] = 'a' } })", "cannot be the name of a header"),
            ("http.get('http://x/', { headers = { ['Content-Length'] = '5' } })", "is set by the client itself"),
            ("http.get('http://x/', { headers = { ['Transfer-Encoding'] = 'chunked' } })", "is set by the client itself"),
            ("http.get('http://x/', { query = { a = {{}} } })", "query.a: text, a number"),
            ("http.request { url = 'http://x/', method = 'get' }", "method: a method such as GET"),
            ("http.request { method = 'GET' }", "a URL (text) expected"),
            ("http.get('http://x/', { redirects = 1.5 })", "redirects: a whole number"),
        ]
        rows = "\n".join(f"policy.agents.a{i} = function(run, input) {code} end" for i, (code, _) in enumerate(cases))
        policy = open_policy('local http = require "tidegate.http"\npolicy.agents = {}\n' + rows)
        first = next(i for i, line in enumerate(policy.split("\n"), 1) if "agents.a0" in line)
        client, server = await self.client(policy=policy)
        for i, (code, text) in enumerate(cases):
            with self.subTest(code):
                events = await client.answer("x", f"a{i}")
                self.assertEqual(events[-1]["data"]["code"], "script_error")
                line = await asyncio.to_thread(server.log.wait, f"run.failed.*agent=a{i} ")
                self.assertIn(f"init.lua:{first + i}: http.", line.replace('\\"', '"'))
                self.assertIn(text, line.replace('\\"', '"'))

    async def test_it_cannot_be_used_while_the_policy_is_loaded(self):
        policy = open_policy('require "tidegate.http".get "http://127.0.0.1:1/"')
        with self.assertRaisesRegex(AssertionError, "http.get cannot be used while the policy is being loaded"):
            await self.serve(policy)

    async def test_no_secret_of_a_request_reaches_the_log(self):
        upstream = await self.upstream({"*": echo})
        client, server = await self.client("--log-level", "debug")
        await self.fetch(
            client,
            upstream.url("/p4th?q=s3cret1"),
            method="POST",
            bearer="s3cret2",
            headers={"X-Key": "s3cret3"},
            body="s3cret4",
        )
        line = await asyncio.to_thread(server.log.wait, r"http\.request")
        self.assertRegex(line, rf"method=POST host=127\.0\.0\.1:{upstream.port} status=200 outcome=ok ms=\d+")
        await self.fails(client, "refused", "http://127.0.0.1:1/p4th?q=s3cret1", bearer="s3cret2")
        for word in ("s3cret", "p4th"):
            self.assertNotIn(word, server.log.text())


class Redirects(HttpTest):
    def routes(self, log):
        async def to(exchange):
            log.append(exchange)
            await exchange.reply(302, "moved", f"Location: {exchange.target.split('?to=', 1)[1]}")

        async def loop(exchange):
            log.append(exchange)
            await exchange.reply(301, "", "Location: /loop")

        return {"/to": to, "/loop": loop, "*": echo}

    async def test_get_follows_them_and_keeps_its_headers_at_home(self):
        upstream = await self.upstream(self.routes([]))
        client, _ = await self.client()
        url = upstream.url("/to?to=sub/../end%20of")
        result = await self.fetch(client, url, bearer="t0ken", headers={"X-Key": "k"})
        self.assertEqual(result["url"], upstream.url("/end%20of"))
        asked = json.loads(result["body"])
        self.assertEqual(asked["headers"]["authorization"], "Bearer t0ken")
        self.assertEqual(asked["headers"]["x-key"], "k")

    async def test_another_origin_gets_no_credentials(self):
        other = await self.upstream({"*": echo})
        upstream = await self.upstream(self.routes([]))
        client, _ = await self.client()
        result = await self.fetch(
            client,
            upstream.url(f"/to?to={other.url('/there')}"),
            bearer="t0ken",
            headers={"X-Api-Key": "k", "Cookie": "c=1", "Accept": "text/plain"},
        )
        headers = json.loads(result["body"])["headers"]
        self.assertEqual(result["url"], other.url("/there"))
        self.assertEqual(headers["accept"], "text/plain")
        for name in ("authorization", "x-api-key", "cookie"):
            self.assertNotIn(name, headers)

    async def test_they_end_at_a_limit_and_can_be_turned_off(self):
        log = []
        upstream = await self.upstream(self.routes(log))
        client, _ = await self.client()
        await self.fails(client, "redirects", upstream.url("/loop"))
        self.assertEqual(len(log), 6)
        await self.fails(client, "redirects", upstream.url("/loop"), redirects=1)
        self.assertEqual(len(log), 8)
        result = await self.fetch(client, upstream.url("/loop"), redirects=0)
        self.assertEqual((result["status"], result["headers"]["location"]), (301, "/loop"))

    async def test_post_is_not_sent_again(self):
        upstream = await self.upstream(self.routes([]))
        client, _ = await self.client()
        result = await self.fetch(client, upstream.url("/to?to=/end"), method="POST", body="x")
        self.assertEqual(result["status"], 302)
        self.assertEqual(len(upstream.requests), 1)

    async def test_only_http_is_followed(self):
        upstream = await self.upstream(self.routes([]))
        client, _ = await self.client()
        for target in ("file:///etc/passwd", "gopher://127.0.0.1:1/", "ftp://127.0.0.1/"):
            with self.subTest(target):
                await self.fails(client, "forbidden", upstream.url(f"/to?to={target}"))

    async def test_a_redirects_endless_body_is_not_waited_for(self):
        async def endless(exchange):
            await exchange.stream_head()
            while True:
                await exchange.chunk(b"x" * 10000)

        async def moved(exchange):
            await exchange.head(302, "Location: /end", "Transfer-Encoding: chunked")
            while True:
                await exchange.chunk(b"x" * 10000)

        upstream = await self.upstream({"/moved": moved, "/end": echo})
        client, _ = await self.client()
        self.assertEqual((await self.fetch(client, upstream.url("/moved")))["url"], upstream.url("/end"))


class Fences(HttpTest):
    async def test_private_addresses_can_be_forbidden(self):
        upstream = await self.upstream({"*": echo})
        client, _ = await self.client("--set", "http.private_addresses=false")
        for host in ("127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]",
                     "0.0.0.0", "10.0.0.1", "169.254.169.254", "100.64.0.1", "[fd00::1]", "[fe80::1]",
                     "[64:ff9b::7f00:1]", "[2002:7f00:1::]"):  # fmt: skip
            with self.subTest(host):
                err = await self.fails(client, "forbidden", upstream.url(host=host), timeout=5)
                self.assertIn("no public address", err)
        self.assertEqual(upstream.connections, [])

    async def test_hosts_can_be_listed(self):
        upstream = await self.upstream({"/to": Redirects().routes([])["/to"], "*": echo})
        allowed = f"localhost:{upstream.port},*.example.test,127.0.0.2:{upstream.port}"
        client, _ = await self.client("--set", f"http.allowed_hosts={allowed}")
        self.assertEqual((await self.fetch(client, upstream.url("/", "localhost")))["status"], 200)
        self.assertEqual((await self.fetch(client, upstream.url("/", "LOCALHOST")))["status"], 200)
        for url in (
            upstream.url("/"),
            upstream.url(f"/to?to={upstream.url('/')}", "localhost"),
            "http://localhost:1/",
            "http://localhost/",
            "http://example.test/",
            "http://xexample.test/",
        ):
            with self.subTest(url):
                self.assertIn("allowed_hosts", await self.fails(client, "forbidden", url))
        await self.fails(client, "resolve", "http://a.example.test/")


class Tls(HttpTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="tidegate-e2e-ca-"))
        subprocess.run(["sh", ROOT / "tests/support/certificates.sh", cls.folder], check=True)
        cls.addClassCleanup(shutil.rmtree, cls.folder)

    def context(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    async def test_certificates_are_verified(self):
        client, _ = await self.client("--set", f"http.ca_file={self.folder / 'ca.pem'}")
        good = await self.upstream({"*": echo}, ssl=self.context("server"))
        self.assertEqual((await self.fetch(client, good.url(host="localhost")))["status"], 200)
        for name in ("expired", "other", "rogue"):
            with self.subTest(name):
                bad = await self.upstream({"*": echo}, ssl=self.context(name))
                err = await self.fails(client, "tls", bad.url(host="localhost"))
                self.assertRegex(err, r"^localhost:\d+: .*certificate")
                self.assertEqual(bad.requests, [])
        stranger, _ = await self.client()
        await self.fails(stranger, "tls", good.url(host="localhost"))

    async def test_no_redirect_leads_from_https_to_http(self):
        plain = await self.upstream({"*": echo})

        async def down(exchange):
            await exchange.reply(302, "", f"Location: {plain.url('/')}")

        secure = await self.upstream({"*": down}, ssl=self.context("server"))
        client, _ = await self.client("--set", f"http.ca_file={self.folder / 'ca.pem'}")
        self.assertIn("from https to http", await self.fails(client, "forbidden", secure.url(host="localhost")))
        self.assertEqual(plain.requests, [])

    async def test_http2_carries_many_requests_over_one_connection(self):
        with tempfile.TemporaryDirectory(prefix="tidegate-e2e-http2-") as folder:
            port, connections = await self.start_http2_server(Path(folder))
            client, _ = await self.client(
                "--set", f"http.ca_file={self.folder / 'ca.pem'}", "--set", "runs.max_per_connection=50"
            )
            url = f"https://localhost:{port}/small"
            for _ in range(50):
                await self.start(client, "fetch", {"url": url})
            for _ in range(50):
                events = await client.until("agent_completed", "agent_error")
                response = events[-1]["data"]["response"]
                self.assertEqual((response["status"], response["version"]), (200, "2"))
            self.assertEqual(len(connections), 1)

    async def start_http2_server(self, folder):
        """nghttpd behind a relay that counts: (the relay's port, a list with one entry a connection)."""
        (folder / "small").write_text("small")
        for _ in range(5):  # it cannot choose a port itself, and one that is free may be taken a moment later
            port = await self.start_nghttpd(folder)
            if port is not None:
                break
        self.assertIsNotNone(port, "the HTTP/2 server has ended")
        connections = []

        async def copy(reader, writer):
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def relay(reader, writer):
            connections.append(writer)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        self.addCleanup(server.close)
        return server.sockets[0].getsockname()[1], connections

    async def start_nghttpd(self, folder):
        """Its port, once it listens; None: it has ended."""
        probe = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = probe.sockets[0].getsockname()[1]
        probe.close()
        await probe.wait_closed()
        program = shutil.which("nghttpd", path="/usr/sbin:/usr/bin")
        nghttpd = await asyncio.create_subprocess_exec(
            program, "--address=127.0.0.1", f"--htdocs={folder}", str(port),
            self.folder / "server.key", self.folder / "server.pem", stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

        async def stop():
            with contextlib.suppress(ProcessLookupError):
                nghttpd.terminate()
            await nghttpd.wait()

        self.addAsyncCleanup(stop)
        for _ in range(int(DEADLINE * 20)):
            await asyncio.sleep(0.05)
            if nghttpd.returncode is not None:
                return None
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return port
        raise AssertionError("the HTTP/2 server did not start")


STREAM = (
    b"\xef\xbb\xbf: comment\nevent: add\ndata: 73857293\n\ndata:first\r\ndata: second\rid: 7\n\r\n"
    b"data\n\nretry: 2500\nignored: x\ndata: {\"a\":1}\n\nevent: gone\n\ndata: cut off"
)
EVENTS = [
    {"event": "add", "data": "73857293"},
    {"event": "message", "data": "first\nsecond", "id": "7"},
    {"event": "message", "data": "", "id": "7"},
    {"event": "message", "data": '{"a":1}', "id": "7", "retry": 2500},
]


class Streams(HttpTest):
    async def test_lines_come_as_they_are_sent(self):
        more = asyncio.Queue()

        async def answer(exchange):
            await exchange.stream_head()
            while (piece := await more.get()) is not None:
                await exchange.chunk(piece)
            await exchange.send("0\r\n\r\n")

        upstream = await self.upstream({"*": answer})
        client, _ = await self.client()
        await self.start(client, "lines", {"url": upstream.url()})
        await client.expect("agent_started")
        for piece, lines in (("one\n", ["one"]), ("tw", []), ("o\r\nthree\n\n", ["two", "three", ""]), ("rest", [])):
            more.put_nowait(piece)
            for line in lines:
                self.assertEqual((await client.expect("agent_delta"))["data"]["text"], line)
        more.put_nowait(None)
        self.assertEqual((await client.expect("agent_delta"))["data"]["text"], "rest")
        self.assertEqual((await client.expect("agent_completed"))["data"]["response"], {"n": 5, "status": 200})

    async def test_events_are_the_same_in_pieces_of_any_size(self):
        async def answer(exchange):
            size = int(exchange.target.split("=")[1])
            await exchange.stream_head("Content-Type: text/event-stream")
            for at in range(0, len(STREAM), size):
                await exchange.chunk(STREAM[at : at + size])
            await exchange.send("0\r\n\r\n")

        upstream = await self.upstream({"*": answer})
        client, _ = await self.client()
        for size in (1, 2, 3, 5, 16, 1000):
            with self.subTest(size):
                result, _ = await self.answer(client, "events", {"url": upstream.url(f"/?size={size}")})
                self.assertEqual(result["list"], EVENTS)
                self.assertNotIn("err", result)

    async def test_a_stream_that_breaks_off_says_so(self):
        async def breaks(exchange):
            await exchange.stream_head()
            await exchange.chunk("data: one\n\ndata: two")
            return "close"

        async def silent(exchange):
            await exchange.stream_head()
            await exchange.chunk("one\n")
            await asyncio.Event().wait()

        upstream = await self.upstream({"/breaks": breaks, "/silent": silent})
        client, _ = await self.client()
        result, deltas = await self.answer(client, "events", {"url": upstream.url("/breaks")})
        self.assertEqual((deltas, result["code"]), (["one"], "reset"))
        result, deltas = await self.answer(client, "lines", {"url": upstream.url("/breaks")})
        self.assertEqual((deltas, result["code"]), (["data: one", ""], "reset"))
        result, deltas = await self.answer(client, "lines", {"url": upstream.url("/silent"), "idle_timeout": 1})
        self.assertEqual((deltas, result["code"]), (["one"], "timeout"))
        result, _ = await self.answer(client, "read", {"url": upstream.url("/silent"), "timeout": 1})
        self.assertEqual((result["total"], result["code"]), (4, "timeout"))
        await asyncio.wait_for(upstream.connections[-1].gone.wait(), DEADLINE)

    async def test_lines_and_events_are_bounded(self):
        async def endless(exchange):
            await exchange.stream_head()
            while True:
                await exchange.chunk(b"data: " + b"x" * 10000)

        upstream = await self.upstream({"*": endless})
        client, _ = await self.client()
        for agent in ("lines", "events"):
            result, _ = await self.answer(client, agent, {"url": upstream.url(), "max_response": 100000})
            self.assertEqual(result["code"], "too_large")
            self.assertIn("max_response", result["err"])
        result, _ = await self.answer(client, "rest", {"url": upstream.url(), "max_response": 100000})
        self.assertEqual(result["code"], "too_large")
        for connection in upstream.connections:
            await asyncio.wait_for(connection.gone.wait(), DEADLINE)

    async def test_a_script_that_does_not_read_holds_the_server_back(self):
        size, sent = 64 << 20, []  # one number for each request

        async def large(exchange):
            number = len(sent)
            sent.append(0)
            await exchange.head(200, f"Content-Length: {size}")
            while sent[number] < size:
                await exchange.send(b"x" * 65536)
                sent[number] += 65536

        upstream = await self.upstream({"*": large})
        client, _ = await self.client()
        await self.start(client, "hold", {"url": upstream.url()}, seconds=1.5)
        await client.until("agent_delta")
        await client.until("agent_completed")
        held = sent[0]
        self.assertLess(held, size, "the server was never held back")
        self.assertLess(held, 24 << 20)  # what the kernels of both sides buffer, and no more
        result, _ = await self.answer(client, "read", {"url": upstream.url()})
        self.assertEqual((result["total"], result.get("err")), (size, None))
        self.assertLessEqual(max(result["sizes"]), 256 << 10)

    async def test_read_gives_at_most_what_was_asked_for(self):
        async def answer(exchange):
            await exchange.reply(200, b"0123456789")

        upstream = await self.upstream({"*": answer})
        client, _ = await self.client()
        result, _ = await self.answer(client, "read", {"url": upstream.url()}, max=4)
        self.assertEqual(result["sizes"], [4, 4, 2])
        result, _ = await self.answer(client, "rest", {"url": upstream.url()})
        self.assertEqual(result["bytes"], "0123456789")


class Endings(HttpTest):
    async def gone(self, upstream, number=0):
        await asyncio.wait_for(upstream.connections[number].gone.wait(), DEADLINE)

    async def test_a_cancelled_run_closes_its_request(self):
        async def slow(exchange):
            await exchange.stream_head()
            await exchange.chunk("one\n")
            await asyncio.Event().wait()

        upstream = await self.upstream({"/slow": slow, "/never": never})
        client, server = await self.client()
        for number, (agent, path) in enumerate((("fetch", "/never"), ("lines", "/slow"), ("hold", "/slow"))):
            with self.subTest(agent):
                await self.start(client, agent, {"url": upstream.url(path)}, seconds=60)
                started = await client.expect("agent_started")
                await upstream.asked(number + 1)
                if agent != "fetch":
                    await client.until("agent_delta")
                await client.send({"type": "agent_cancel", "data": {"run_id": started["run_id"]}})
                ended = await client.until("agent_error", "agent_completed")
                self.assertEqual(ended[-1]["data"]["code"], "cancelled")
                await self.gone(upstream, number)
        metrics = await server.metrics()
        self.assertEqual(metrics['tidegate_http_requests_total{outcome="cancelled"}'], 3)
        self.assertEqual(metrics["tidegate_http_in_flight"], 0)

    async def test_a_connection_that_ends_closes_its_requests(self):
        upstream = await self.upstream({"*": never})
        client, server = await self.client()
        await self.start(client, "fetch", {"url": upstream.url()})
        await upstream.asked(1)
        client.ws.transport.abort()
        await self.gone(upstream)

    async def test_a_stream_ends_with_the_run_that_opened_it(self):
        async def slow(exchange):
            await exchange.stream_head()
            await exchange.chunk("one\n")
            await asyncio.Event().wait()

        upstream = await self.upstream({"*": slow})
        client, _ = await self.client()
        result, _ = await self.answer(client, "hold", {"url": upstream.url()}, seconds=0)
        self.assertEqual(result, 200)
        await self.gone(upstream)

    async def test_a_stream_that_is_closed_or_forgotten_ends(self):
        async def slow(exchange):
            await exchange.stream_head()
            await exchange.chunk("one\n")
            await asyncio.Event().wait()

        upstream = await self.upstream({"*": slow})
        policy = open_policy(
            """
            local http, time = require "tidegate.http", require "tidegate.time"
            policy.agents = {}
            function policy.agents.close(run, input)
              local r = http.get(input.url, { stream = true })
              for line in r:lines() do run:delta(line); r:close() end
              run:delta(select(2, r:error()))
              run:delta(tostring(select(3, r:read())))
              time.sleep(60)
            end
            function policy.agents.forget(run, input)
              local status = http.get(input.url, { stream = true }).status
              local waste = {}
              for i = 1, 200 do waste[i % 10] = ("x"):rep(100000 + i); time.sleep(0) end
              run:delta("forgotten")
              time.sleep(60)
            end
            """
        )
        client, _ = await self.client(policy=policy)
        await self.start(client, "forget", url=upstream.url())
        await upstream.asked(1)
        await self.gone(upstream)
        client, _ = await self.client(policy=policy)
        await self.start(client, "close", url=upstream.url())
        await client.expect("agent_started")
        self.assertEqual((await client.expect("agent_delta"))["data"]["text"], "one")
        await self.gone(upstream, 1)
        self.assertEqual((await client.expect("agent_delta"))["data"]["text"], "closed")
        # What was read as lines cannot be read as bytes.
        self.assertEqual((await client.expect("agent_error"))["data"]["code"], "script_error")

    async def test_a_hook_waits_within_its_wall_budget(self):
        async def judge(exchange):
            await exchange.reply(200, '{"user_id":"ada"}')

        upstream = await self.upstream({"/ok": judge, "/never": never})
        policy = """
            local http = require "tidegate.http"
            local policy = {{ agents = {{ a = function() return "" end }} }}
            function policy.authenticate(conn, credentials)
              local r, err = http.get("{}" .. credentials.bearer, {{ connect_timeout = 5 }})
              if not r then return nil, err end
              return r:json()
            end
            return policy
        """.format(upstream.url("/"))
        server = await self.serve(policy, "--set", "script.wall_budget=500ms", workers=1)
        client = await Client.ready(server, "ok")
        self.assertEqual(client.data["user_id"], "ada")
        refused = await Client.open(server, "never")
        self.assertEqual((await refused.closed())[0], 1011)
        await self.gone(upstream, -1)

    async def test_a_reload_lets_requests_end_on_the_old_version(self):
        go = asyncio.Event()

        async def slow(exchange):
            await go.wait()
            await exchange.reply(200, "late")

        async def lines(exchange):
            await exchange.stream_head()
            await exchange.chunk("one\n")
            await go.wait()
            await exchange.chunk("two\n")
            await exchange.send("0\r\n\r\n")

        upstream = await self.upstream({"/slow": slow, "/lines": lines})
        client, server = await self.client()
        await self.start(client, "fetch", {"url": upstream.url("/slow")})
        await self.start(client, "lines", {"url": upstream.url("/lines")})
        await upstream.asked(2)
        await client.until("agent_delta")
        server.write(POLICY.replace("status = r.status, ok", "new = true, status = r.status, ok"))
        status, _, text = await server.ask("POST", "/reload")
        self.assertEqual(status, 200, text)
        self.assertEqual((await self.fetch(client, "http://127.0.0.1:1/"))["code"], "refused")
        go.set()
        ended = []
        while len(ended) < 2:
            ended.append((await client.until("agent_completed", "agent_error"))[-1])
        responses = {event["agent"]: event["data"]["response"] for event in ended}
        self.assertEqual(responses["fetch"]["body"], "late")
        self.assertNotIn("new", responses["fetch"])
        self.assertEqual(responses["lines"]["n"], 2)
        go.set()
        self.assertTrue((await self.fetch(client, upstream.url("/slow")))["new"])

    async def test_a_server_that_stops_ends_requests_under_way(self):
        upstream = await self.upstream({"*": never})
        client, server = await self.client("--set", "drain_timeout=0s")
        for _ in range(3):
            await self.start(client, "fetch", {"url": upstream.url()})
        await upstream.asked(3)
        await asyncio.to_thread(server.stop)
        for number in range(3):
            await self.gone(upstream, number)

    async def test_it_waits_inside_coroutines_and_tasks(self):
        upstream = await self.upstream({"*": echo})
        policy = open_policy(
            """
            local http = require "tidegate.http"
            policy.agents = {}
            function policy.agents.coroutines(run, input)
              local next_status = coroutine.wrap(function()
                for i = 1, 3 do coroutine.yield(http.get(input.url .. i).status) end
              end)
              return { next_status(), next_status(), next_status() }
            end
            function policy.agents.handler(run, input)
              local result
              xpcall(error, function() result = { pcall(http.get, input.url) } end)
              return { ok = result[1], err = result[2] }
            end
            function policy.agents.together(run, input)
              local results = tide.all {
                function() return http.get(input.url .. "a").status end,
                function()
                  local n = 0
                  for line in http.get(input.url .. "b", { stream = true }):lines() do n = n + 1 end
                  return n
                end,
              }
              return results
            end
            """
        )
        client, _ = await self.client(policy=policy)

        async def run(agent):
            return (await self.answer(client, agent, url=upstream.url()))[0]

        self.assertEqual(await run("coroutines"), [200, 200, 200])
        self.assertEqual(await run("together"), [200, 1])
        result = await run("handler")
        self.assertIs(result["ok"], False)
        self.assertIn("cannot wait here", result["err"])


if __name__ == "__main__":
    unittest.main()
