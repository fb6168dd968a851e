"""Agents that call agents, with budgets; services that are missing and return."""

import json
import unittest

from harness import ROOT, Client, ServerTest, open_policy
from upstream import Upstream

POLICY = open_policy(
    """
    local time = require "tidegate.time"
    policy.agents = {
      piece = function(run, input)
        for i = 1, 3 do
          run:delta(input .. i)
          time.sleep(0.01)
        end
        return input
      end,
      slow = function(run) run:thinking("slow") time.sleep(3600) end,
      joins = function(run)
        local found = tide.all {
          function() return run:call("piece", "a") end,
          function() return run:call("piece", "b") end,
          function() return run:call("nests", 2) end,
        }
        return found
      end,
      nests = function(run, depth)
        if depth == 0 then return "deep" end
        return run:call("nests", depth - 1)
      end,
      waits = function(run)
        tide.all {
          function() return run:call("slow") end,
          function() return run:call("waits_too") end,
        }
      end,
      waits_too = function(run) return run:call("slow") end,
      hands_off = function(run) return run:hand_off("piece", "c") end,
      spins = function(run)
        local _, why, code = run:call("spinner")
        return { why, code }
      end,
      spinner = function() while true do end end,
      limited = { run = function(run) return run:call("slow") end, timeout = 0.3 },
      expensive = { run = function(run) run:spend{ tokens = 200 } time.sleep(3600) end, max_tokens = 100 },
      single = { run = function() time.sleep(3600) end, max_concurrent_per_user = 1 },
    }
    """
)


class Composition(ServerTest):
    def assert_nested(self, events):
        """Numbers without gap; each run well-formed, and inside the run that called it. Answers runs by id."""
        self.assert_seq(events)
        runs, state = {}, {}
        for event in events:
            run, parent = event["run_id"], event.get("parent_run_id")
            runs.setdefault(run, []).append(event)
            self.assertEqual(event["type"] == "agent_started", state.get(run) is None)
            self.assertNotEqual(state.get(run), "over")
            if parent is not None:
                self.assertEqual(state[parent], "begun")
            over = event["type"] in ("agent_completed", "agent_error")
            state[run] = "over" if over else "begun"
        self.assertEqual(set(state.values()), {"over"})
        for own in runs.values():
            self.assert_events(own, own[0]["agent"], own[-1]["type"])
            self.assertEqual(len({event.get("parent_run_id") for event in own}), 1)
        return runs

    async def story(self, client, agent):
        """All events of a run of this agent and of those below it."""
        await client.run("x", agent)
        events = [await client.expect("agent_started")]
        while events[-1]["run_id"] != events[0]["run_id"] or events[-1]["type"] not in (
            "agent_completed",
            "agent_error",
        ):
            events.append(await client.next())
        return events

    async def test_several_at_once_and_nested_ones_stand_inside_their_parent(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server)
        events = await self.story(client, "joins")
        runs = self.assert_nested(events)
        self.assertEqual(events[-1]["data"]["response"], ["a", "b", "deep"])
        self.assertEqual(len(runs), 6)
        shown = await server.get(f"/connections/{client.id}")
        self.assertEqual(shown["state"], "processing_ready")

    async def test_a_hand_off_ends_with_the_others_response(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server)
        events = await self.story(client, "hands_off")
        self.assert_nested(events)
        self.assertEqual(events[-1]["data"]["response"], "c")
        self.assertEqual(events[-1]["data"]["handed_off_to"], events[-2]["run_id"])

    async def test_a_child_over_its_budget_ends_alone(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server)
        events = await self.story(client, "spins")
        self.assert_nested(events)
        self.assertEqual(events[-2]["data"]["code"], "cpu_budget")
        self.assertEqual(events[-1]["data"]["response"][1], "cpu_budget")
        await client.alive()

    async def test_a_timeout_a_token_budget_and_a_cancel_end_all_below_first(self):
        server = await self.serve(POLICY)
        for agent, code in (("limited", "timeout"), ("expensive", "token_budget")):
            client = await Client.ready(server)
            events = await self.story(client, agent)
            self.assert_nested(events)
            self.assertEqual(events[-1]["data"]["code"], code)
        client = await Client.ready(server)
        await client.run("x", "waits")
        events = []
        while sum(event["type"] == "agent_thinking" for event in events) < 2:
            events.append(await client.next())
        await client.send({"type": "agent_cancel", "data": {"run_id": events[0]["run_id"]}})
        while events[-1]["run_id"] != events[0]["run_id"]:
            events.append(await client.next())
        self.assertEqual(len(self.assert_nested(events)), 4)
        self.assertEqual(events[-1]["data"]["code"], "cancelled")

    async def test_a_lost_connection_ends_them_wherever_they_are(self):
        server = await self.serve(POLICY)
        for heard in range(1, 7):
            client = await Client.ready(server)
            await client.run("x", "waits")
            for _ in range(heard):
                await client.next()
            client.ws.transport.abort()
        await server.eventually("no run is left", lambda: self.idle(server))
        lost = await server.metric('tidegate_run_outcomes_total{agent="waits",outcome="connection_lost"}')
        self.assertEqual(lost, 6)

    async def idle(self, server):
        running = (await server.metrics()).get('tidegate_runs{agent="slow"}', 0)
        return running == 0 and not await server.connections()

    async def test_a_users_runs_are_counted_on_all_workers(self):
        server = await self.serve(POLICY, "--set", "runs.max_per_user=3", workers=4)
        clients = [await Client.ready(server) for _ in range(8)]
        for client in clients[:3]:
            await client.run("x", "slow")
            await client.expect("agent_started")
        for client in clients[3:]:
            await client.run("x", "slow")
            self.assertEqual((await client.expect("error"))["data"]["code"], "too_many_runs")
        clients[0].ws.transport.abort()

        async def free():
            await clients[7].run("x", "slow")
            return (await clients[7].next())["type"] == "agent_started"

        await server.eventually("a place is free", free)

    async def test_an_agents_runs_are_counted_by_user(self):
        server = await self.serve(POLICY, workers=4)
        clients = [await Client.ready(server) for _ in range(4)]
        await clients[0].run("x", "single")
        await clients[0].expect("agent_started")
        for client in clients[1:]:
            await client.run("x", "single")
            self.assertEqual((await client.expect("error"))["data"]["code"], "too_many_runs")


class MultiAgent(ServerTest):
    async def search_engine(self, port=0):
        """Healthy only while `self.healthy`."""

        async def health(exchange):
            await exchange.reply(200 if self.healthy else 503)

        async def search(exchange):
            body = json.dumps({"results": ["Spring tides come with a full moon."]})
            await exchange.reply(200, body, "Content-Type: application/json")

        upstream = await Upstream.start({"/health": health, "/search": search}, port=port)
        self.addAsyncCleanup(upstream.stop)
        return upstream

    async def ask(self, client):
        await client.run("tides", "supervisor")
        events = [await client.expect("agent_started")]
        while events[-1]["agent"] != "supervisor" or events[-1]["type"] != "agent_completed":
            events.append(await client.next())
        return events

    async def test_it_answers_without_the_search_until_that_returns(self):
        self.healthy = False
        upstream = await self.search_engine()
        server = await self.serve(
            ROOT / "examples/multi_agent",
            "--set", f"options.search_url={upstream.url('')}",
            "--set", "limits.prepare_retry=200ms",
        )  # fmt: skip
        client = await Client.ready(server, "demo-key")
        self.assertEqual(client.data["state"], "degraded")
        self.assertEqual(client.data["reason"], "search: status 503")
        events = await self.ask(client)
        self.assertIn("(archivist)", events[-1]["data"]["response"])
        self.assertNotIn("(searcher)", events[-1]["data"]["response"])
        self.healthy = True
        again = await client.expect("connection_ready")
        self.assertEqual(again["data"]["state"], "processing_ready")
        events = await self.ask(client)
        self.assertIn("full moon. (searcher)", events[-1]["data"]["response"])
        self.assertEqual(events[-1]["data"]["handed_off_to"], events[-2]["run_id"])
        self.assertEqual({"supervisor", "archivist", "searcher", "writer"}, {e["agent"] for e in events})

    async def test_it_notices_when_the_search_goes_away_and_when_it_returns(self):
        self.healthy = True
        upstream = await self.search_engine()
        url, port = upstream.url(""), upstream.port
        server = await self.serve(
            ROOT / "examples/multi_agent",
            "--set", f"options.search_url={url}",
            "--set", "limits.prepare_retry=200ms",
        )  # fmt: skip
        client = await Client.ready(server, "demo-key")
        self.assertEqual(client.data["state"], "processing_ready")
        await upstream.stop()
        events = await self.ask(client)
        self.assertNotIn("(searcher)", events[-1]["data"]["response"])
        told = await client.expect("connection_ready")
        self.assertEqual((told["data"]["state"], told["data"]["reason"][:8]), ("degraded", "search: "))
        events = await self.ask(client)  # what it can
        self.assertIn("(archivist)", events[-1]["data"]["response"])
        upstream = await self.search_engine(port)
        told = await client.expect("connection_ready")
        self.assertEqual(told["data"]["state"], "processing_ready")
        events = await self.ask(client)
        self.assertIn("full moon. (searcher)", events[-1]["data"]["response"])


if __name__ == "__main__":
    unittest.main()
