import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { inspectRepository, readHead } from "../../src/executor/index.ts";
import { parsePolicy } from "../../src/policy/index.ts";
import { findTools } from "../../src/services/exec/find-tools.ts";
import { TestRepository } from "../executor/support/repository.ts";
import { LocalHosts } from "../support/local-hosts.ts";
import type { Worked } from "./support/agent-world.ts";
import { dataOf, scriptedDoor, workOnce } from "./support/scripted-work.ts";

const HOST = "files.example.org";

/** A policy of the user's for one agent, which may do what it likes in its sandbox. */
function policyFor(agent: string, more: JsonObject): JsonObject {
  return {
    policy_id: "house",
    schema_version: "1.0.0",
    operations: [{ type: "llm.call", resources: ["**"] }],
    allowed_git_operations: ["git_add", "git_commit"],
    agent: { run: [agent], tools: { Bash: "allow" } },
    allowlist: {
      file_operations: ["write_file", "update_file"],
      paths: ["**"],
      commands: [{ id: "npm", executable: "npm", allowed_args: ["test"] }],
    },
    limits: { max_file_size_mb: 10, max_files: 20, timeout_seconds: 60 },
    ...more,
  };
}

describe("an agent whose policy names a host", () => {
  let repository: TestRepository;
  let hosts: LocalHosts;
  beforeEach(async () => {
    repository = new TestRepository({ "a.txt": "a\n" });
    hosts = await LocalHosts.start();
  });
  afterEach(() => {
    hosts.close();
    repository.dispose();
  });

  const work = (script: string): Promise<Worked> =>
    workOnce(repository, {
      agent: "custom",
      model: scriptedDoor([]),
      order: { command: ["bash", "-c", script] },
      policy: policyFor("custom", { network: { hosts: [`${HOST}:${hosts.port}`] } }),
      egress: (world) => hosts.door(world),
    });

  test("reaches that host by the proxy and no other, and each connection is recorded", async () => {
    const other = `https://other.example.org:${hosts.port}/`;
    const worked = await work(
      [
        `curl -sk https://${HOST}:${hosts.port}/ >b.txt`,
        `curl -skv ${other} 2>c.txt && exit 1`,
        // Past the proxy there is no network, and no name leads anywhere.
        `curl -sk --noproxy '*' https://127.0.0.1:${hosts.port}/ && exit 1`,
        `getent hosts ${HOST} && exit 1`,
        "exit 0",
      ].join("; "),
    );
    expect(worked).toMatchObject({ code: "none" });
    const [connected, ...more] = dataOf(worked, "egress.connected");
    const action = { type: "network.connect", resource: `${HOST}:${hosts.port}`, params: {} };
    expect(connected).toMatchObject({ action, decision: { effect: "allow" }, host: HOST });
    expect(more).toEqual([]);
    expect(dataOf(worked, "egress.closed")).toMatchObject([
      { connection: connected?.["connection"], ended: "closed" },
    ]);
    const refused = { host: `other.example.org:${hosts.port}`, code: "ERR_EGRESS_DENIED" };
    expect(dataOf(worked, "egress.refused")).toMatchObject([refused]);
    expect(hosts.names).toEqual([HOST]);
  });

  test("fails with the host that it was refused in the reason, and what to type", async () => {
    const worked = await work(`curl -sfk https://other.example.org/ || exit 7`);
    expect(worked).toMatchObject({ code: "ERR_AGENT_FAILED", commit: null });
    expect(worked.reason).toMatch(
      /other\.example\.org:443 was refused: ERR_EGRESS_DENIED: .*network\.hosts/,
    );
    expect(hosts.names).toEqual([]);
  });
});

describe("an agent whose policy mounts tools", () => {
  let repository: TestRepository;
  beforeEach(() => {
    repository = new TestRepository({
      ".gitignore": "node_modules\n",
      "package.json": '{ "name": "p", "type": "module", "scripts": { "test": "node --test" } }\n',
      "add.js": 'import sign from "sign";\nexport const add = (a, b) => a + sign * b;\n',
      "add.test.js":
        'import assert from "node:assert";\nimport { test } from "node:test";\nimport { add } from "./add.js";\ntest("adds", () => assert.equal(add(2, 3), 5));\n',
    });
    const library = join(repository.root, "node_modules/sign");
    mkdirSync(library, { recursive: true });
    writeFileSync(join(library, "package.json"), '{ "name": "sign", "type": "module" }');
    writeFileSync(join(library, "index.js"), "export default -1;\n");
  });
  afterEach(() => {
    repository.dispose();
  });

  test("runs the project's tests itself, with the project's own libraries, which it cannot change", async () => {
    const policy = policyFor("codex", { presets: ["node"] });
    const user = await inspectRepository(repository.root);
    const toolset = await findTools(
      parsePolicy(Buffer.from(JSON.stringify(policy)), "policy.json"),
      user,
      await readHead(user),
      { environment: process.env, dataFolder: join(repository.folder, "data") },
    );
    const shell = (cmd: string) => ({ tools: [{ name: "exec_command", input: { cmd } }] });
    const model = scriptedDoor([
      shell("npm test; echo ended $?"),
      shell("echo 'export default 1;' >node_modules/sign/index.js; echo wrote $?"),
      shell("sed -i 's/ + sign \\* b/ + b/' add.js; npm test; echo ended $?"),
      { text: "done" },
    ]);
    const worked = await workOnce(repository, {
      agent: "codex",
      model,
      policy,
      ...(toolset === null ? {} : { toolset }),
      order: { verify: ["npm test"] },
    });
    expect(worked).toMatchObject({ code: "none" });
    const said = JSON.stringify(model.requests().at(-1)?.body["input"]);
    expect(said).toContain("Read-only file system");
    const ends = [...said.matchAll(/(?:ended|wrote) \d/g)].map(([word]) => word);
    expect(ends).toEqual(["ended 1", "wrote 1", "ended 0"]);
  });
});
