"""`run --watch`: the policy follows its files, however they are changed, and nothing else makes it reload."""

import os
import shutil
import tempfile
import unittest
from pathlib import Path

from harness import Client, ServerTest, open_policy


def version(name, extra=""):
    return open_policy(f"""
        function policy.message(conn, message)
          conn:send({{ type = "seen", by = "{name}" }})
        end
        {extra}
        """)


class Watch(ServerTest):
    async def asyncSetUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-watch-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.policy = self.folder / "policy" / "init.lua"
        self.policy.parent.mkdir()
        self.policy.write_text(version("one"))
        self.taken = 0

    async def start(self, path=None):
        self.server = await self.serve(
            path or self.policy.parent, "--watch", "--log-level", "debug"
        )
        self.client = await Client.ready(self.server)

    async def reloads(self, result="ok"):
        return await self.server.metric(f'tidegate_reloads_total{{result="{result}"}}')

    async def expect(self, name):
        """One reload more, and then this version answers."""
        self.taken += 1
        await self.server.metric_reaches('tidegate_reloads_total{result="ok"}', self.taken)
        await self.client.send({"type": "look"})
        self.assertEqual((await self.client.expect("seen"))["by"], name)

    def replace(self, text, path=None):
        """Whole at once: no moment in which the file, the policy's by default, is half written."""
        path = path or self.policy
        draft = path.with_name("draft")
        draft.write_text(text)
        os.replace(draft, path)

    async def unchanged(self, change):
        """Does what is no change, until the watch has looked at it."""
        before = self.server.log.text().count("policy.unchanged")
        change()

        async def looked():
            return self.server.log.text().count("policy.unchanged") > before

        await self.server.eventually("a look that finds nothing", looked)
        self.assertEqual(await self.reloads(), self.taken)

    async def test_a_file_that_is_written_in_place(self):
        await self.start()
        self.policy.write_text(version("two"))
        await self.expect("two")
        await self.server.wait_log("policy.reload result=ok why=watch")

    async def test_an_editor_s_replace_by_rename(self):
        await self.start()
        for name in ("two", "three", "four"):
            draft = self.policy.with_name("4913~")
            draft.write_text(version(name))
            os.replace(draft, self.policy)
            await self.expect(name)

    async def test_an_editor_s_move_away_and_write(self):
        await self.start()
        for name in ("two", "three"):
            os.replace(self.policy, self.policy.with_name("init.lua~"))
            self.policy.write_text(version(name))
            await self.expect(name)

    async def test_a_module_that_is_new_or_renamed_or_deep_below(self):
        await self.start()
        uses = 'local w = require "deep.er.words"\nfunction policy.binary(c) c:send(w) end'
        # Nothing to find yet: the reload fails, and the module makes it work.
        self.policy.write_text(version("two", uses))
        await self.server.metric_reaches('tidegate_reloads_total{result="failed"}')
        deep = self.policy.parent / "deep" / "er"
        deep.mkdir(parents=True)
        (deep / "word.lua").write_text('return "first"\n')
        (deep / "word.lua").rename(deep / "words.lua")
        # How many reloads the steps make is up to the clock; what the last one takes is not.
        await self.server.wait_log("policy.reload result=ok why=watch")
        await self.client.send(b"?")
        self.assertEqual(await self.client.receive(), "first")
        self.taken = await self.reloads()
        self.replace('return "second"\n', deep / "words.lua")
        await self.expect("two")
        await self.client.send(b"?")
        self.assertEqual(await self.client.receive(), "second")

    async def test_a_folder_that_is_removed_and_made_again(self):
        await self.start()
        shutil.rmtree(self.policy.parent)
        await self.server.metric_reaches('tidegate_reloads_total{result="failed"}')
        await self.client.send({"type": "look"})
        self.assertEqual((await self.client.expect("seen"))["by"], "one")
        fresh = self.folder / "fresh"
        fresh.mkdir()
        (fresh / "init.lua").write_text(version("two"))
        fresh.rename(self.policy.parent)
        await self.expect("two")
        self.policy.write_text(version("three"))
        await self.expect("three")

    async def test_a_link_that_is_set_to_another_release(self):
        for name in ("one", "two"):
            (self.folder / name / "policy").mkdir(parents=True)
            (self.folder / name / "policy" / "init.lua").write_text(version(name))
        current = self.folder / "current"
        current.symlink_to("one")
        await self.start(current / "policy")
        switch = self.folder / "switch"
        switch.symlink_to("two")
        os.replace(switch, current)
        await self.expect("two")
        (self.folder / "two" / "policy" / "init.lua").write_text(version("three"))
        await self.expect("three")

    async def test_a_single_file_and_the_modules_beside_it(self):
        path = self.folder / "alone.lua"
        path.write_text(version("one"))
        await self.start(path)
        path.write_text(version("two"))
        await self.expect("two")
        self.replace("return 1\n", self.folder / "beside.lua")
        await self.expect("two")
        path.unlink()
        path.symlink_to(self.policy)
        await self.expect("one")
        self.policy.write_text(version("through the link"))
        await self.expect("through the link")

    async def test_what_changes_nothing_is_not_taken(self):
        await self.start()
        swap = self.policy.with_name(".init.lua.swp")
        await self.unchanged(self.policy.touch)
        await self.unchanged(lambda: self.replace(version("one")))
        (self.policy.parent / "notes.txt").write_text("todo")  # not even looked at
        swap.write_text("x")
        await self.unchanged(swap.unlink)
        self.assertEqual(await self.reloads("failed"), 0)

    async def test_a_mistake_is_logged_once_and_the_old_version_serves_on(self):
        await self.start()
        broken = "local policy = {\n"
        self.replace(broken)
        await self.server.wait_log(r"policy.reload result=failed why=watch .*init\.lua:[12]")
        await self.unchanged(lambda: self.replace(broken))
        await self.unchanged(self.policy.touch)
        await self.client.send({"type": "look"})
        self.assertEqual((await self.client.expect("seen"))["by"], "one")
        health = await self.server.get("/health")
        self.assertEqual(health["status"], "degraded")
        self.replace(version("two"))
        await self.expect("two")
        self.assertEqual(await self.reloads("failed"), 1)
        self.assertEqual(self.server.log.text().count("result=failed"), 1)

    async def test_a_mistake_that_is_undone_leaves_the_server_well(self):
        await self.start()
        self.replace("oops")
        await self.server.metric_reaches('tidegate_reloads_total{result="failed"}')
        self.replace(version("one"))

        async def well():
            return (await self.server.get("/health"))["status"] == "ok"

        await self.server.eventually("well again", well)
        self.assertEqual(await self.reloads(), 0)

    async def test_a_rollback_stays_until_a_file_changes(self):
        await self.start()
        self.replace(version("two"))
        await self.expect("two")
        status, _, text = await self.server.ask("POST", "/rollback")
        self.assertEqual(status, 200, text)
        self.taken += 1
        await self.unchanged(self.policy.touch)
        await self.unchanged(lambda: self.replace(version("two")))
        await self.client.send({"type": "look"})
        self.assertEqual((await self.client.expect("seen"))["by"], "one")
        self.replace(version("three"))
        await self.expect("three")
        self.assertEqual(await self.reloads(), self.taken)

    async def test_without_the_flag_nothing_follows(self):
        self.server = await self.serve(self.policy.parent)
        self.client = await Client.ready(self.server)
        self.policy.write_text(version("two"))
        await self.client.send({"type": "look"})
        self.assertEqual((await self.client.expect("seen"))["by"], "one")
        self.assertEqual((await self.server.get("/policy"))["last_reload"]["why"], "start")


if __name__ == "__main__":
    unittest.main()
