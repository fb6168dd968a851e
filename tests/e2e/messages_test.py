"""What a client may send: good messages, bad ones with an answer that says what was wrong, and those
that end the connection."""

import json
import re
import unittest

from harness import BINARY_FRAME, CLOSE, PING, PONG, TEXT, Client, Raw, ServerTest, frame, open_policy

POLICY = open_policy(
    """
    function policy.route(conn, message)
      if message.data.message == "forbidden" then
        return nil, "not for you"
      end
      return message.data.agent_type or "echo"
    end
    function policy.message(conn, message)
      conn:send({ type = "got", message = message })
    end
    function policy.binary(conn, bytes)
      conn:send_binary(bytes:reverse())
    end
    policy.agents = {
      echo = function(run, input) return input.message end,
      other = function() return "other" end,
    }
    """
)


class Answers(ServerTest):
    async def asyncSetUp(self):
        self.server = await self.serve(POLICY)
        self.client = await Client.ready(self.server)

    async def assert_error(self, sent, code, id=None):
        """The answer is an error with that code, and the next good message works."""
        await self.client.send(sent)
        error = await self.client.expect("error")
        self.assertEqual(error["data"]["code"], code, error)
        self.assertTrue(error["data"]["message"])
        self.assertEqual(error.get("id"), id)
        events = await self.client.answer("still here")
        self.assertEqual(events[-1]["data"]["response"], "still here")

    async def test_broken_json_is_answered_bad_json(self):
        for text in ("{", "{]", '{"type":"ping"', "nothing", "", '{"type":"ping"} {}', "[" * 100000):
            with self.subTest(text=text[:20]):
                await self.assert_error(text, "bad_json")

    async def test_json_that_is_no_message_is_answered_bad_message(self):
        for text in ("[]", "42", '"ping"', "null", "{}", '{"type":42}', '{"type":null}'):
            with self.subTest(text=text):
                await self.assert_error(text, "bad_message")

    async def test_a_request_of_the_wrong_shape_is_answered_bad_message_with_its_id(self):
        for data in (None, 42, "text", []):
            with self.subTest(data=data):
                message = {"type": "agent_execution", "id": "r1", "data": data}
                await self.assert_error(message, "bad_message", "r1")
        for data in (None, {}, {"run_id": 7}):
            with self.subTest(cancel=data):
                message = {"type": "agent_cancel", "id": 9, "data": data}
                await self.assert_error(message, "bad_message", 9)

    async def test_an_unknown_agent_is_answered_unknown_agent_with_the_id(self):
        message = {
            "type": "agent_execution",
            "id": "r7",
            "data": {"message": "x", "agent_type": "nobody"},
        }
        await self.assert_error(message, "unknown_agent", "r7")

    async def test_an_unknown_run_is_answered_unknown_run_with_the_id(self):
        message = {"type": "agent_cancel", "id": "r8", "data": {"run_id": "no-such-run"}}
        await self.assert_error(message, "unknown_run", "r8")

    async def test_a_route_that_says_no_is_answered_denied_with_its_reason(self):
        message = {"type": "agent_execution", "id": "r9", "data": {"message": "forbidden"}}
        await self.client.send(message)
        error = await self.client.expect("error")
        self.assertEqual(error["data"], {"code": "denied", "message": "not for you"})
        self.assertEqual(error["id"], "r9")

    async def test_ping_is_answered_pong(self):
        await self.client.send({"type": "ping"})
        await self.client.expect("pong")

    async def test_the_id_of_a_request_is_echoed_as_request_id(self):
        for id in ("abc", 17):
            await self.client.run("x", id=id)
            started = (await self.client.until("agent_completed"))[0]
            self.assertEqual(started["data"]["request_id"], id)
        await self.client.run("x")
        started = (await self.client.until("agent_completed"))[0]
        self.assertNotIn("request_id", started["data"])

    async def test_any_other_type_reaches_the_policys_message_hook_whole(self):
        message = {"type": "note", "n": 1.5, "list": [1, 2], "deep": {"ä": "ß"}, "yes": True}
        await self.client.send(message)
        self.assertEqual((await self.client.expect("got"))["message"], message)

    async def test_binary_frames_reach_the_policys_binary_hook(self):
        await self.client.send(b"\x00\x01\xff")
        self.assertEqual(await self.client.receive(), b"\xff\x01\x00")


class Ends(ServerTest):
    async def assert_closed(self, data, code, *args):
        """These bytes end the connection with that code; another one lives on."""
        server = await self.serve(POLICY, *args)
        bystander = await Client.ready(server)
        raw = await Raw.ready(server)
        await raw.write(data)
        closed, reason = await raw.until_close()
        self.assertEqual(closed, code, reason)
        raw.close()
        await server.metric_reaches(f'tidegate_closes_total{{code="{code}"}}')
        await bystander.alive()
        await bystander.close()

    async def test_a_message_over_the_limit_is_closed_1009(self):
        await self.assert_closed(
            frame(TEXT, json.dumps({"type": "x", "body": "y" * 2000})),
            1009,
            "--set",
            "limits.max_message=1KiB",
        )

    async def test_fragments_over_the_limit_together_are_closed_1009(self):
        data = frame(TEXT, "x" * 800, fin=False) + frame(0, "x" * 800)
        await self.assert_closed(data, 1009, "--set", "limits.max_message=1KiB")

    async def test_text_that_is_not_utf8_is_closed_1007(self):
        await self.assert_closed(frame(TEXT, b'{"type":"\xff\xfe"}'), 1007)

    async def test_an_unmasked_frame_is_closed_1002(self):
        await self.assert_closed(frame(TEXT, '{"type":"ping"}', mask=None), 1002)

    async def test_a_reserved_opcode_is_closed_1002(self):
        await self.assert_closed(frame(3, "x"), 1002)

    async def test_strict_closes_4400_on_broken_json(self):
        await self.assert_closed(frame(TEXT, "{"), 4400, "--set", "strict=true")

    async def test_strict_closes_4400_on_a_message_without_type(self):
        await self.assert_closed(frame(TEXT, "{}"), 4400, "--set", "strict=true")


class Frames(ServerTest):
    async def test_a_message_in_fragments_with_a_ping_between_them_is_one_message(self):
        server = await self.serve(POLICY)
        raw = await Raw.ready(server)
        await raw.write(
            frame(TEXT, '{"type":"no', fin=False)
            + frame(PING, "between")
            + frame(0, 'te","n"', fin=False)
            + frame(0, ":1}")
        )
        self.assertEqual(await raw.read_frame(), (PONG, b"between"))
        self.assertEqual((await raw.next())["message"], {"type": "note", "n": 1})
        raw.close()

    async def test_a_message_of_the_largest_size_goes_both_ways(self):
        server = await self.serve(POLICY, "--set", "limits.max_message=1MiB")
        raw = await Raw.ready(server)
        payload = bytes(range(256)) * 4096
        await raw.write(frame(BINARY_FRAME, payload))
        self.assertEqual(await raw.read_frame(), (BINARY_FRAME, payload[::-1]))
        raw.close()

    async def test_bytes_one_at_a_time_are_a_message_like_any_other(self):
        server = await self.serve(POLICY)
        raw = await Raw.ready(server)
        for byte in frame(TEXT, '{"type":"ping"}'):
            await raw.write(bytes([byte]))
        self.assertEqual((await raw.next())["type"], "pong")
        raw.close()


SLOW = open_policy(
    """
    local log = require "tidegate.log"
    local time = require "tidegate.time"
    function policy.text(conn, text)
      time.sleep(tonumber(text:match("^wait (.*)")) or 0.02)
      log.info("heard", { text = text, sent = tostring(conn:send(text)) })
    end
    function policy.closed(conn, info)
      log.info("over " .. info.code .. (info.clean and " clean" or " lost"))
    end
    """
)


class Farewells(ServerTest):
    """Messages in front of a good-bye reach the policy, which is still busy with the first."""

    COUNT = 20
    PATIENT = ("--set", "limits.close_timeout=60s")  # there is more to do than time on a busy machine

    def farewell(self):
        return b"".join(frame(TEXT, f"m{n}") for n in range(self.COUNT))

    def heard(self, server):
        return re.findall(r"heard.* text=(\w+)", server.log.text())

    async def assert_heard(self, server, over):
        await server.wait_log("over " + over)
        self.assertEqual(self.heard(server), [f"m{n}" for n in range(self.COUNT)])
        self.assertEqual(await server.metric("tidegate_messages_dropped_total"), 0)

    async def test_before_a_close_all_are_answered_and_then_the_close(self):
        server = await self.serve(SLOW, *self.PATIENT, "--set", "limits.inbox_messages=4")
        raw = await Raw.open(server)
        await raw.write(self.farewell() + frame(CLOSE, b"\x03\xe8bye"))
        for n in range(self.COUNT):
            self.assertEqual(await raw.read_frame(), (TEXT, f"m{n}".encode()))
        self.assertEqual(await raw.until_close(), (1000, "bye"))
        self.assertEqual(await raw.rest(), b"")
        await self.assert_heard(server, "1000 clean")

    async def test_before_a_frame_that_breaks_the_protocol(self):
        server = await self.serve(SLOW, *self.PATIENT, "--set", "limits.inbox_messages=4")
        for bad, code in ((b"\x81\x01x", 1002), (frame(TEXT, b"\xff"), 1007), (frame(TEXT, b"x" * 2**21), 1009)):
            server.log.lines.clear()
            raw = await Raw.open(server)
            await raw.write(self.farewell() + bad + frame(TEXT, "never"))
            for n in range(self.COUNT):
                self.assertEqual(await raw.read_frame(), (TEXT, f"m{n}".encode()))
            self.assertEqual((await raw.until_close())[0], code)
            raw.close()
            await self.assert_heard(server, f"{code} lost")

    async def test_before_the_end_of_the_stream(self):
        server = await self.serve(SLOW, *self.PATIENT)
        raw = await Raw.open(server)
        await raw.write(self.farewell())
        raw.writer.write_eof()
        for n in range(self.COUNT):
            self.assertEqual(await raw.read_frame(), (TEXT, f"m{n}".encode()))
        self.assertEqual(await raw.rest(), b"")
        await self.assert_heard(server, "1006 lost")

    async def test_of_a_client_that_is_gone_before_they_are_answered(self):
        server = await self.serve(SLOW, *self.PATIENT)
        raw = await Raw.open(server)
        await raw.write(self.farewell())
        raw.close()
        await self.assert_heard(server, "1006 lost")
        await server.eventually("it is gone", lambda: self.nobody(server))

    async def nobody(self, server):
        return await server.connections() == []

    async def test_no_longer_than_close_timeout(self):
        server = await self.serve(SLOW, "--set", "limits.close_timeout=100ms")
        raw = await Raw.open(server)
        await raw.write(frame(TEXT, "wait 9") + frame(TEXT, "m1") + frame(CLOSE, b"\x03\xe8"))
        self.assertEqual(await raw.until_close(), (1000, ""))
        await server.wait_log("over")
        self.assertEqual(self.heard(server), [])
        self.assertEqual(await server.metric("tidegate_messages_dropped_total"), 1)


if __name__ == "__main__":
    unittest.main()
