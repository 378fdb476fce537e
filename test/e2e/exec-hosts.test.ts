import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Installation, runEnded } from "./cli.ts";

let installation: Installation;
let server: Server;
/** Connections to this machine, which no proxy of ours makes. */
let reached = 0;
beforeAll(async () => {
  installation = new Installation({ processes: "one" });
  server = createServer((socket) => {
    reached += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.2", resolve));
});
afterAll(async () => {
  server.close();
  await installation.dispose();
});

interface Refused {
  readonly host: string;
  readonly code: string;
  readonly left_out?: number;
}

/** Runs a script as a command whose policy names an address of this machine. */
async function run(name: string, script: string): Promise<{ repo: string; refused: Refused[] }> {
  const repo = join(installation.home, name);
  mkdirSync(repo);
  const git = (...args: string[]): string =>
    execFileSync("git", ["-c", "user.name=U", "-c", "user.email=u@example.org", ...args], {
      cwd: repo,
      encoding: "utf8",
    });
  git("init", "-q", "-b", "main");
  git("commit", "-q", "--allow-empty", "-m", "base");
  const { port } = server.address() as AddressInfo;
  const request = {
    exec_request_id: `exec_req_${name}_01`,
    schema_version: "1.0.0",
    created_at: "2026-01-01T00:00:00Z",
    role: "executor",
    patch_plan: {
      steps: [
        {
          step_id: "step_01",
          commit_message: "Try hosts",
          operations: [
            { op_id: "op_1", action: "command", params: { argv: ["sh", "-c", script] } },
          ],
        },
      ],
    },
  };
  const policy = {
    policy_id: "hosts",
    schema_version: "1.0.0",
    allowed_git_operations: ["git_add", "git_commit"],
    allowlist: {
      file_operations: ["write_file"],
      paths: ["**"],
      commands: [{ id: "sh", executable: "sh", allowed_args: ["**"] }],
    },
    network: { hosts: [`127.0.0.2:${port}`] },
  };
  const files = {
    request: join(installation.home, `${name}-r.json`),
    policy: join(installation.home, `${name}-p.json`),
  };
  writeFileSync(files.request, JSON.stringify(request));
  writeFileSync(files.policy, JSON.stringify(policy));
  const words = ["--policy", files.policy, "--request", files.request, "--repo", repo];
  const { code, documents } = await installation.json(["exec", "run", ...words]);
  expect(code).toBe(0);
  const end = runEnded(documents);
  expect(end.verdict).toBe("VALID");
  const { entries } = JSON.parse(readFileSync(end.bundle, "utf8")) as {
    entries: { entry: { event_type: string; data: Refused } }[];
  };
  const refused = entries.flatMap(({ entry }) =>
    entry.event_type === "egress.refused" ? [entry.data] : [],
  );
  return { repo, refused };
}

it("a command reaches no private address, though policy names the host, and the evidence says so", async () => {
  const { port } = server.address() as AddressInfo;
  const urls = [`https://127.0.0.2:${port}/`, `https://other.example.org/`];
  const tries = urls.map((url) => `curl -sk ${url} >>out; echo "$?" >>out`);
  const { repo, refused } = await run("hosts", tries.join("; "));
  // curl's words for a proxy that closes the tunnel, and for one that refuses it.
  expect(readFileSync(join(repo, "out"), "utf8")).toMatch(/^35\n56\n$/);
  expect(reached).toBe(0);
  expect(refused.map(({ host, code }) => [host, code])).toEqual([
    [`127.0.0.2:${port}`, "ERR_EGRESS_ADDRESS"],
    ["other.example.org:443", "ERR_EGRESS_DENIED"],
  ]);
});

it("a command that asks for a host in a loop fills nothing: its refusals are counted", async () => {
  const ask = "curl -sk https://other.example.org/ >/dev/null || true";
  const { refused } = await run("flood", `for i in $(seq 260); do ${ask}; done; echo done >out`);
  expect(refused).toHaveLength(101);
  expect(refused.slice(0, 100).every(({ left_out: more }) => more === undefined)).toBe(true);
  expect(refused[100]).toMatchObject({ host: "other.example.org:443", left_out: 159 });
});
