import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DIALECTS } from "../../../../examples/agent/dialects.ts";
import { TestRepository } from "../executor/support/repository.ts";
import { work, type Worked } from "./support/agent-world.ts";
import { scriptedDoor } from "./support/scripted-work.ts";

const SECRET = 'canary "of" the user';
const TOKEN = "of-this-run";

let repository: TestRepository;
beforeEach(() => {
  repository = new TestRepository({ "a.txt": "a\n", "secret.txt": SECRET });
});
afterEach(() => {
  repository.dispose();
});

/** What is kept of what an agent printed that has the secret before it, in several forms. */
async function keptOf(agent: string, more: "allowed" | "denied"): Promise<[string, Worked]> {
  const dialect = DIALECTS[agent];
  if (dialect === undefined) throw new Error(`no dialect of ${agent}`);
  const looks = "cat secret.txt; base64 -w0 secret.txt; od -An -v -tx1 secret.txt | tr -d ' \\n'";
  const path = more === "allowed" ? "b.txt" : ".github/workflows/x.yml";
  const worked = await work(repository, {
    agent,
    model: scriptedDoor([
      dialect.shell(`${looks}; env | grep ${TOKEN}; echo ${TOKEN}`),
      dialect.write(path, "b"),
    ]),
    secrets: [SECRET],
    order: { transcript: true },
  });
  const folder = join(worked.folder, "03_executor/transcripts");
  const text = readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"));
  rmSync(worked.folder, { recursive: true, force: true });
  return [text.join(""), worked];
}

describe.each(["claude", "codex"])("the transcript of the real %s", (agent) => {
  test.each(["allowed", "denied"] as const)(
    "has what it did and none of its secrets, where its last call is %s",
    async (more) => {
      const [kept, worked] = await keptOf(agent, more);
      expect(worked.code).toBe(more === "allowed" ? "none" : "ERR_AGENT_DENIED");
      const lines = kept.trimEnd().split("\n");
      for (const line of lines) expect(() => JSON.parse(line) as unknown).not.toThrow();
      // The call, what the tool printed, and the masks in it.
      expect(kept).toContain("od -An -v");
      expect(kept).toContain("[masked]");
      const bytes = Buffer.from(SECRET);
      const forms = [SECRET, SECRET.replaceAll('"', '\\"'), TOKEN, bytes.toString("hex")];
      for (const form of [...forms, bytes.toString("base64").replaceAll("=", "")]) {
        expect(kept).not.toContain(form);
      }
      expect(JSON.stringify(worked.entries)).not.toContain("canary");
    },
  );
});
