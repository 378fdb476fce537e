import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endOf, Installation, type Json } from "./cli.ts";
import { killAt } from "./kill-at-entry.ts";

let installation: Installation;
let folder: string;
let server: Server;
let host: string;
const asked: string[] = [];

beforeAll(async () => {
  installation = new Installation({ processes: "one" });
  folder = mkdtempSync(join(tmpdir(), "sov-budget-"));
  server = createServer((request, response) => {
    asked.push(request.url ?? "");
    response.end("ok");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const operations = [{ type: "skill.http_call", resources: [host] }];
  const policy = { policy_id: "p", schema_version: "1.0.0", operations };
  writeFileSync(join(folder, "policy.json"), JSON.stringify(policy));
  const steps = ["a", "b", "c", "d"].map((id) => ({
    id,
    skill: "http_call",
    with: { url: `http://${host}/${id}` },
    cost_cents: 2,
  }));
  writeFileSync(join(folder, "plan.json"), JSON.stringify({ steps, parallel: 4 }));
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await installation.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const run = (tenant: string): string[] => [
  ...["run", "--tenant-id", tenant, "--agent-id", "bot", "--goal", "call a server"],
  ...["--plan", join(folder, "plan.json"), "--policy", join(folder, "policy.json")],
];

async function shown(tenant: string): Promise<Json | undefined> {
  const { documents } = await installation.json(["budgets", "show", "--tenant", tenant]);
  return documents.find((one) => one["scope"] === "tenant_month");
}

describe("a budget on the command line", () => {
  it("is not overspent by four processes at once", async () => {
    const set = ["budgets", "set", "--tenant", "acme", "--cents", "20", "--by", "alice"];
    expect((await installation.run(set)).code).toBe(0);
    const ends = await Promise.all([1, 2, 3, 4].map(() => endOf(installation.start(run("acme")))));
    // 16 steps at 2 cents, and 20 cents.
    expect(asked).toHaveLength(10);
    const others = ends.filter(({ code }) => code !== 0);
    expect(others.map(({ code, err }) => [code, err])).toEqual(others.map(({ err }) => [3, err]));
    expect(others.length).toBeGreaterThanOrEqual(2);
    expect(await shown("acme")).toMatchObject({
      microusd: 200_000,
      held_microusd: 0,
      used_microusd: 200_000,
      used_steps: 10,
    });
    const listed = await installation.json(["incidents", "list", "--tenant", "acme"]);
    expect(listed.documents).toMatchObject([{ kind: "budget", state: "open" }]);
  });

  it("counts what was held where a process was killed before the end of a step", async () => {
    await endOf(installation.start(run("killed"), killAt("execution.authorized")));
    expect(await shown("killed")).toMatchObject({ used_steps: 0 });
    const held = Number((await shown("killed"))?.["held_microusd"]);
    expect(held).toBeGreaterThanOrEqual(20_000);
    const listed = await installation.json(["runs", "list", "--tenant", "killed"]);
    const id = String(listed.documents[0]?.["run"]);
    const again = await installation.run(["run", "resume", id, "--tenant", "killed"]);
    expect(again.code).toBe(0);
    expect(await shown("killed")).toMatchObject({
      held_microusd: held,
      used_microusd: 80_000,
      used_steps: 4,
    });
    expect((await installation.run(["runs", "proof", id, "--tenant", "killed"])).code).toBe(0);
  });

  it.each([
    ["0", ["--cents", "0"]],
    ["a negative number", ["--cents=-1"]],
    ["a fraction", ["--steps", "1.5"]],
    ["more than fits", ["--tokens", "99999999999999999999"]],
    ["a word", ["--seconds", "many"]],
    ["nothing", []],
  ])("takes not %s", async (_, flags) => {
    const set = await installation.run(["budgets", "set", "--tenant", "acme", ...flags]);
    expect(set.code).toBe(2);
    if (flags.length === 0) return;
    const ofRun = flags.map((flag) => flag.replace("--", "--budget-"));
    expect((await installation.run([...run("acme"), ...ofRun])).code).toBe(2);
  });
});
