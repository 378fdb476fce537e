import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endOf, Installation, type Json, runEnded, untilPaths } from "./cli.ts";
import { killAt } from "./kill-at-entry.ts";

let installation: Installation;
let folder: string;
let server: Server;
let host: string;
const asked: string[] = [];

beforeAll(async () => {
  installation = new Installation({ processes: "one" });
  folder = mkdtempSync(join(tmpdir(), "sov-goal-"));
  server = createServer((request, response) => {
    asked.push(`${request.method ?? ""} ${request.url ?? ""}`);
    if (request.url !== "/hang") response.end("ok");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const operations = [{ type: "skill.http_call", resources: [host] }];
  const policy = { policy_id: "p", schema_version: "1.0.0", operations };
  writeFileSync(join(folder, "policy.json"), JSON.stringify(policy));
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await installation.dispose();
  rmSync(folder, { recursive: true, force: true });
});

function command(plan: readonly object[]): string[] {
  const path = join(folder, "plan.json");
  writeFileSync(path, JSON.stringify({ steps: plan, parallel: 1 }));
  return [
    ...["run", "--tenant-id", "acme", "--agent-id", "bot", "--goal", "call two servers"],
    ...["--plan", path, "--policy", join(folder, "policy.json")],
  ];
}

const call = (id: string, method = "GET", needs: readonly string[] = []): object => ({
  id,
  skill: "http_call",
  with: { url: `http://${host}/${id}`, method },
  needs,
});

async function killed(plan: readonly object[], entry: string): Promise<string> {
  await endOf(installation.start(command(plan), killAt(entry)));
  const listed = await installation.json(["runs", "list", "--tenant", "acme", "--limit", "1"]);
  expect(listed.documents).toMatchObject([{ kind: "goal", status: "running" }]);
  return String(listed.documents[0]?.["run"]);
}

const proofOf = async (run: string): Promise<{ code: number | null; proof: Json }> => {
  const { code, documents } = await installation.json([
    "runs",
    "proof",
    run,
    "--tenant-id",
    "acme",
  ]);
  return { code, proof: (documents[0]?.["integrity"] ?? {}) as Json };
};

describe("a goal on the command line", () => {
  it("is done, traced and proved", async () => {
    const ran = await installation.json(command([call("one"), call("two", "GET", ["one"])]));
    expect(ran.code).toBe(0);
    const { run, verdict } = runEnded(ran.documents);
    expect(verdict).toBe("VALID");
    const { code, proof } = await proofOf(run);
    expect(code).toBe(0);
    expect(proof).toMatchObject({ verification_status: "VERIFIED", chain_length: 2 });
    const shown = await installation.run(["runs", "trace", run, "--tenant", "acme"]);
    expect(shown.out).toMatch(/one +http_call +1 +completed/);
    // It is the tenant's alone.
    const other = await installation.json(["runs", "proof", run]);
    expect(other).toMatchObject({ code: 2, documents: [{ error: { code: "ERR_RUN_NOT_FOUND" } }] });
  });

  it("names skills, and needs a tenant and an agent", async () => {
    const skills = await installation.run(["list-skills"]);
    expect(skills.out).toContain("http_call");
    const bare = await installation.run(["run", "--goal", "x", "--planner", "stub"]);
    expect(bare).toMatchObject({ code: 2 });
    expect(bare.err).toContain("--tenant-id");
  });

  it("that was killed is gone on with: what is done is not done again", async () => {
    const plan = [call("before"), call("after", "GET", ["before"])];
    const run = await killed(plan, "execution.completed");
    const open = await proofOf(run);
    expect(open).toMatchObject({ code: 1, proof: { verification_status: "UNSUPPORTED" } });
    const resumed = await installation.json(["run", "resume", run, "--tenant", "acme"]);
    expect(runEnded(resumed.documents)).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(asked.filter((one) => one === "GET /before")).toHaveLength(1);
    expect((await proofOf(run)).proof).toMatchObject({ verification_status: "VERIFIED" });
  });

  it("that was killed amid what must not happen twice waits for a person", async () => {
    const run = await killed([call("pay", "POST")], "execution.authorized");
    const waits = await installation.json(["run", "resume", run, "--tenant", "acme"]);
    expect(runEnded(waits.documents)).toMatchObject({
      status: "pending",
      code: "ERR_OUTCOME_UNKNOWN",
    });
    const pays = (): number => asked.filter((one) => one === "POST /pay").length;
    const before = pays();
    const retry = ["run", "resume", run, "--tenant", "acme", "--retry-failed"];
    const resumed = await installation.json(retry);
    expect(runEnded(resumed.documents)).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(pays()).toBe(before + 1);
    expect((await proofOf(run)).proof).toMatchObject({
      verification_status: "VERIFIED",
      chain_length: 2,
    });
  });

  it("that was killed amid a connection is gone on with, and its evidence is valid", async () => {
    const run = await killed([call("reach")], "egress.connected");
    const resumed = await installation.json(["run", "resume", run, "--tenant", "acme"]);
    expect(runEnded(resumed.documents)).toMatchObject({ status: "completed", verdict: "VALID" });
  });

  it("that is stopped amid a request has no host and no gateway left", async () => {
    await installation.run(["keys", "add", "--operator", "alice", "--architect", "bob"]);
    const running = installation.start(command([call("hang")]));
    const ended = endOf(running);
    const isAsked = (): boolean => asked.includes("GET /hang");
    for (let waited = 0; !isAsked() && waited < 60_000; waited += 20) await sleep(20);
    // The host in the sandbox is a path like any other.
    await untilPaths(installation, 1);
    expect(gateways()).toHaveLength(1);
    const keys = ["--operator-key", "alice", "--architect-key", "bob"];
    const stopped = await installation.json(["scram", "activate", ...keys]);
    expect(stopped.documents[0]).toMatchObject({ event: { scram_state: "COMPLETE" } });
    expect((await ended).code).not.toBe(0);
    expect(gateways()).toEqual([]);
  });
});

/** The gateways of this installation that are alive. */
function gateways(): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return (
        words.includes(installation.home) && words.some((one) => one.includes("/main/gateway."))
      );
    } catch {
      // It has ended meanwhile.
      return false;
    }
  });
}
