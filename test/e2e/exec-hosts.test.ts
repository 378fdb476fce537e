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

it("a command reaches no private address, though policy names the host, and the evidence says so", async () => {
  const repo = join(installation.home, "repo");
  mkdirSync(repo);
  const git = (...args: string[]): string =>
    execFileSync("git", ["-c", "user.name=U", "-c", "user.email=u@example.org", ...args], {
      cwd: repo,
      encoding: "utf8",
    });
  git("init", "-q", "-b", "main");
  git("commit", "-q", "--allow-empty", "-m", "base");
  const { port } = server.address() as AddressInfo;
  const urls = [`https://127.0.0.2:${port}/`, `https://other.example.org/`];
  const tries = urls.map((url) => `curl -sk ${url} >>out; echo "$?" >>out`);
  const request = {
    exec_request_id: "exec_req_hosts_01",
    schema_version: "1.0.0",
    created_at: "2026-01-01T00:00:00Z",
    role: "executor",
    patch_plan: {
      steps: [
        {
          step_id: "step_01",
          commit_message: "Try hosts",
          operations: [
            { op_id: "op_1", action: "command", params: { argv: ["sh", "-c", tries.join("; ")] } },
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
    request: join(installation.home, "r.json"),
    policy: join(installation.home, "p.json"),
  };
  writeFileSync(files.request, JSON.stringify(request));
  writeFileSync(files.policy, JSON.stringify(policy));
  const words = ["--policy", files.policy, "--request", files.request, "--repo", repo];
  const { code, documents } = await installation.json(["exec", "run", ...words]);
  expect(code).toBe(0);
  const end = runEnded(documents);
  expect(end["verdict"]).toBe("VALID");
  // curl's words for a proxy that closes the tunnel, and for one that refuses it.
  expect(readFileSync(join(repo, "out"), "utf8")).toMatch(/^35\n56\n$/);
  expect(reached).toBe(0);
  const { entries } = JSON.parse(readFileSync(end["bundle"], "utf8")) as {
    entries: { entry: { event_type: string; data: { host: string; code: string } } }[];
  };
  const refused = entries.filter(({ entry }) => entry.event_type === "egress.refused");
  expect(refused.map(({ entry }) => [entry.data.host, entry.data.code])).toEqual([
    [`127.0.0.2:${port}`, "ERR_EGRESS_ADDRESS"],
    ["other.example.org:443", "ERR_EGRESS_DENIED"],
  ]);
});
