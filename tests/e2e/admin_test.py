"""The admin interface: what it says is true, and nobody reaches it by way of a browser."""

import json
import tempfile
import unittest
from pathlib import Path

from harness import Client, ServerTest, open_policy, tidegate

STATES = (
    "connecting accepted authenticated services_ready processing_ready processing idle degraded "
    "reconnecting closing closed failed"
).split()

POLICY = open_policy(
    """
    local time = require "tidegate.time"
    policy.agents = {
      echo = function(run, input) return input.message end,
      waits = function() time.sleep(3600) end,
    }
    """
)


class Facts(ServerTest):
    async def asyncSetUp(self):
        self.server = await self.serve(POLICY)

    async def test_health_has_every_field_and_its_numbers_are_right(self):
        clients = [await Client.ready(self.server, f"user-{n}") for n in range(3)]
        health = await self.server.get("/health")
        self.assertEqual(health["status"], "ok")
        self.assertGreaterEqual(health["uptime_seconds"], 0)
        self.assertTrue(health["version"])
        self.assertEqual(health["workers"], 2)
        self.assertRegex(health["policy"]["version"], r"^[0-9a-f]{12}$")
        self.assertRegex(health["policy"]["loaded_at"], r"^\d{4}-\d\d-\d\dT.*Z$")
        self.assertIn("last_reload", health["policy"])
        websocket = health["websocket"]
        self.assertEqual(websocket["connections"], 3)
        self.assertEqual(sorted(websocket["states"]), sorted(STATES))
        self.assertEqual(websocket["states"]["processing_ready"], 3)
        self.assertEqual(sum(websocket["states"].values()), 3)
        self.assertEqual(websocket["stuck_in_connecting"], 0)
        self.assertEqual(websocket["stuck_in_setup"], 0)
        self.assertEqual(websocket["state_transition_success_rate"], 1.0)
        self.assertEqual(websocket["invalid_state_transitions_24h"], 0)
        self.assertEqual(websocket["connection_id_mismatches"], 0)
        for client in clients:
            await client.close()

    async def test_health_before_the_first_connection_says_all_is_well(self):
        websocket = (await self.server.get("/health"))["websocket"]
        self.assertEqual(websocket["connections"], 0)
        self.assertEqual(websocket["state_transition_success_rate"], 1.0)

    async def test_ready_says_200(self):
        status, _, _ = await self.server.ask("GET", "/ready")
        self.assertEqual(status, 200)

    async def test_metrics_parse_and_count_what_happened(self):
        client = await Client.ready(self.server, "ada")
        await client.answer("hello", "echo")
        status, headers, text = await self.server.ask("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["content-type"].startswith("text/plain"))
        metrics = await self.server.metrics()
        self.assertEqual(metrics["tidegate_connections_opened_total"], 1)
        self.assertEqual(metrics['tidegate_connections{state="processing_ready"}'], 1)
        self.assertEqual(
            metrics['tidegate_run_outcomes_total{agent="echo",outcome="completed"}'], 1
        )
        self.assertEqual(metrics['tidegate_messages_total{direction="in",kind="text"}'], 1)
        self.assertGreaterEqual(metrics['tidegate_messages_total{direction="out",kind="text"}'], 3)
        self.assertGreater(metrics['tidegate_bytes_total{direction="in"}'], 0)
        self.assertGreater(metrics['tidegate_script_memory_bytes{worker="1"}'], 0)
        count = metrics['tidegate_hook_duration_seconds_count{hook="authenticate"}']
        infinite = metrics['tidegate_hook_duration_seconds_bucket{hook="authenticate",le="+Inf"}']
        self.assertEqual((count, infinite), (1, 1))
        for name in ("tidegate_build_info", "tidegate_policy_info"):
            self.assertTrue(any(key.startswith(name + "{") for key in metrics), name)
        for name in ("tidegate_closes_total", "tidegate_hook_outcomes_total"):
            self.assertIn(f"# TYPE {name} counter", text)
        await client.close()
        await self.server.metric_reaches('tidegate_closes_total{code="1000"}')

    async def test_connections_are_listed_by_state_user_and_limit(self):
        names = ["ada", "ada", "bob", "cyd"] + ["eve"] * 12  # so that both workers have some
        clients = [await Client.ready(self.server, name) for name in names]
        await clients[3].run("x", "waits")
        await clients[3].until("agent_started")
        ids = {client.id for client in clients}
        self.assertEqual({c["id"] for c in await self.server.connections()}, ids)
        ada = await self.server.connections("?user=ada")
        self.assertEqual({c["id"] for c in ada}, {clients[0].id, clients[1].id})
        busy = await self.server.connections("?state=processing")
        self.assertEqual([(c["id"], c["state"]) for c in busy], [(clients[3].id, "processing")])
        self.assertEqual(await self.server.connections("?user=nobody"), [])
        self.assertEqual(len(await self.server.connections("?limit=3")), 3)
        self.assertEqual(len(await self.server.connections("?limit=1")), 1)
        self.assertEqual((await self.server.get("/connections?limit=1"))["count"], len(clients))
        both = await self.server.connections("?user=ada&state=processing_ready&limit=1")
        self.assertEqual(len(both), 1)
        for bad in ("?state=nonsense", "?limit=0x", "?limit=-1"):
            status, _, text = await self.server.ask("GET", "/connections" + bad)
            self.assertEqual(status, 400, bad + text)

    async def test_one_connection_is_shown_with_its_facts(self):
        client = await Client.ready(self.server, "ada")
        shown = await self.server.get(f"/connections/{client.id}")
        self.assertEqual(shown["id"], client.id)
        self.assertEqual(shown["user_id"], "ada")
        self.assertEqual(shown["state"], "processing_ready")
        self.assertTrue(shown["remote_address"].startswith("127.0.0.1:"), shown)
        self.assertEqual(len(shown["transitions"]), 4)
        self.assertEqual(
            shown["policy_version"], (await self.server.get("/policy"))["version"]
        )

    async def test_an_unknown_connection_is_404_and_a_bad_id_no_crash(self):
        for name in ("ws_1111111111111_010000000001_1111111111111111", "nonsense", "%2e%2e", "x" * 500):
            status, _, text = await self.server.ask("GET", "/connections/" + name)
            self.assertIn(status, (400, 404), name)
            self.assertIn("error", json.loads(text))

    async def test_post_close_closes_that_connection_only(self):
        first, second = [await Client.ready(self.server) for _ in range(2)]
        status, _, text = await self.server.ask("POST", f"/connections/{first.id}/close")
        self.assertIn(status, (200, 202, 204), text)
        code, _ = await first.closed()
        self.assertIn(code, (1000, 1001, 1012))
        await second.alive()
        status, _, _ = await self.server.ask(
            "POST", "/connections/ws_1111111111111_010000000001_1111111111111111/close"
        )
        self.assertEqual(status, 404)

    async def test_policy_names_version_agents_and_hooks(self):
        policy = await self.server.get("/policy")
        self.assertRegex(policy["version"], r"^[0-9a-f]{12}$")
        self.assertEqual(sorted(policy["agents"]), ["echo", "waits"])
        self.assertIn("authenticate", policy["hooks"])

    async def test_version_names_the_program_and_its_libraries(self):
        version = await self.server.get("/version")
        self.assertTrue(version["version"])
        text = json.dumps(version).lower()
        for library in ("luajit", "libuv", "llhttp", "wslay", "mbed"):
            self.assertIn(library, text)

    async def test_unknown_paths_and_methods_are_refused(self):
        self.assertEqual((await self.server.ask("GET", "/nothing"))[0], 404)
        self.assertEqual((await self.server.ask("POST", "/health"))[0], 405)
        self.assertEqual((await self.server.ask("GET", "/reload"))[0], 405)


class WhoMayAsk(ServerTest):
    async def test_a_foreign_host_or_origin_is_refused_and_our_own_is_not(self):
        server = await self.serve(POLICY)
        own = f"{server.admin_host}:{server.admin_port}"
        cases = (
            ({"Host": own}, 200),
            ({"Host": f"localhost:{server.admin_port}"}, 200),
            ({"Host": "evil.example"}, 403),
            ({"Host": f"evil.example:{server.admin_port}"}, 403),
            ({"Host": own, "Origin": f"http://{own}"}, 200),
            ({"Host": own, "Origin": "https://evil.example"}, 403),
            ({"Host": own, "Origin": "null"}, 403),
        )
        for headers, expected in cases:
            for method, path in (("GET", "/health"), ("POST", "/reload")):
                with self.subTest(headers=headers, path=path):
                    status, _, text = await server.ask(method, path, headers=headers)
                    self.assertEqual(status, expected, text)

    async def test_a_foreign_origin_reloads_nothing(self):
        server = await self.serve(POLICY)
        await server.ask("POST", "/reload", headers={"Origin": "https://evil.example"})
        self.assertEqual(await server.metric('tidegate_reloads_total{result="ok"}'), 0)

    async def test_with_a_token_only_who_has_it_is_answered(self):
        server = await self.serve(POLICY, env={"TIDEGATE_ADMIN_TOKEN": "s3cret-token"})
        self.assertEqual((await server.ask("GET", "/health"))[0], 401)
        for token, expected in (("wrong", 401), ("s3cret-token", 200)):
            headers = {"Authorization": "Bearer " + token}
            self.assertEqual((await server.ask("GET", "/health", headers=headers))[0], expected)
        self.assertNotIn("s3cret-token", server.log.text())

    async def test_an_admin_address_off_loopback_needs_a_token(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.lua"
            path.write_text(POLICY)
            done = tidegate("run", path, "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("admin_token", done.stderr + done.stdout)

    async def test_the_public_listener_answers_nothing_of_it(self):
        server = await self.serve(POLICY)
        for path in ("/health", "/metrics", "/connections", "/policy"):
            status, _, _ = await server.ask("GET", path, public=True)
            self.assertIn(status, (404, 426), path)


class Log(ServerTest):
    async def test_the_log_may_be_json_lines(self):
        server = await self.serve(POLICY, "--log-format", "json")
        client = await Client.ready(server, "ada")
        await server.wait_log(client.id)
        await client.close()
        await server.wait_log(r"conn\.close")
        events = [json.loads(line) for line in server.log.lines]
        self.assertTrue(any(event.get("id") == client.id for event in events))

    async def test_no_log_line_holds_a_token_or_a_payload(self):
        server = await self.serve(POLICY, "--log-level", "debug")
        client = await Client.ready(server, "user-name", path="/?token=query-secret")
        await client.answer("payload-secret", "echo")
        await client.close()
        await server.wait_log(r"conn\.close")
        self.assertNotIn("payload-secret", server.log.text())
        self.assertNotIn("query-secret", server.log.text())


if __name__ == "__main__":
    unittest.main()
