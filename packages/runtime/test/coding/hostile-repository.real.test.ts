import { afterEach, describe, expect, test } from "vitest";
import { DIALECTS } from "../../../../examples/agent/dialects.ts";
import { TestRepository } from "../executor/support/repository.ts";
import { HOSTILE_FILES, linkSettings, toldOf } from "./support/hostile-files.ts";
import { scriptedDoor, workOnce } from "./support/scripted-work.ts";

let repository: TestRepository;
afterEach(() => {
  repository.dispose();
});

describe.each(["claude", "codex"])("a repository that would configure the real %s", (agent) => {
  test.each(["files", "links"] as const)(
    "by %s runs nothing and tells its model nothing",
    async (how) => {
      repository = new TestRepository(HOSTILE_FILES);
      if (how === "links") linkSettings(repository);
      const dialect = DIALECTS[agent];
      if (dialect === undefined) throw new Error(`no dialect of ${agent}`);
      const model = scriptedDoor([
        dialect.read("sub/x.txt"),
        dialect.shell("ls /tmp; env | grep -c EVIL; echo looked"),
        dialect.write("sub/b.txt", "b"),
        { text: "done" },
      ]);
      const worked = await workOnce(repository, { agent, model });
      expect(worked).toMatchObject({ code: "none" });
      const said = JSON.stringify(model.requests().map(({ body }) => body));
      expect(said).toContain("looked");
      expect(toldOf(said)).toEqual([]);
    },
  );
});
