import type { ChildProcess } from "node:child_process";
import { cpSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliEnd, endOf, type Json } from "./cli.ts";
import { ok, TwoMachines } from "./two-machines.ts";

const BOTH = ["--operator-key", "alice", "--architect-key", "bob"];
const RESET = ["scram", "reset", ...BOTH, "--reason", "looked into"];

const machines = new TwoMachines();
const { a, b, place } = machines;
beforeAll(async () => {
  await machines.start();
  const { near, far } = machines;
  const slots = ["--role", "runner", "--operator", "alice", "--architect", "bob"];
  await ok(a, ["keys", "init", ...slots], near);
  const file = join(place.home, "installation.json");
  await ok(a, ["nodes", "export", file], near);
  await ok(b, ["nodes", "join", file], far);
  cpSync(join(a.home, "keys"), join(b.home, "keys"), { recursive: true });
  await ok(b, ["status"], far);
});
afterAll(async () => {
  for (const { child } of serving) child.kill("SIGKILL");
  await machines.dispose();
});

interface Serving {
  readonly child: ChildProcess;
  readonly events: Json[];
  readonly ended: Promise<CliEnd>;
  readonly url: () => string;
}
const serving: Serving[] = [];

function serve(env: Record<string, string>): Serving {
  const child = b.start(["scram", "serve", "--listen", "127.0.0.1:0", "--json"], env);
  const events: Json[] = [];
  let rest = "";
  child.stdout?.on("data", (chunk) => {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) events.push(JSON.parse(line) as Json);
  });
  const url = (): string => String(events.find(({ event }) => event === "listening")?.["url"]);
  const one = { child, events, ended: endOf(child), url };
  serving.push(one);
  return one;
}

const countOf = ({ events }: Serving, name: string): number =>
  events.filter(({ event }) => event === name).length;

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; waited < 60_000; waited += 100) {
    if (await holds()) return;
    await sleep(100);
  }
  throw new Error(`in vain: ${what}`);
}

async function healthz(one: Serving): Promise<{ status: number; body: Json }> {
  const answer = await fetch(`${one.url()}/healthz`);
  return { status: answer.status, body: (await answer.json()) as Json };
}

const health = async (...flags: string[]): Promise<{ code: number | null; found: Json }> => {
  const { code, documents } = await b.json(["health", ...flags]);
  return { code, found: documents[0] ?? {} };
};

async function stopsOfB(): Promise<number> {
  const { documents } = await b.json(["scram", "status"]);
  return (documents[0]?.["stops"] as unknown[]).length;
}

/** The watches that run for B, found without asking anybody. */
function watches(): number[] {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const home = readFileSync(`/proc/${pid}/environ`, "utf8").includes(`HOME=${b.home}\0`);
      return home && words.includes("watch") ? [Number(pid)] : [];
    } catch {
      return [];
    }
  });
}

describe("a shared installation whose only long-running command is scram serve", () => {
  it("is stopped by what is ordered elsewhere", async () => {
    const one = serve(machines.far);
    await until("it watches", () => countOf(one, "watching") > 0);
    await ok(a, ["scram", "activate", ...BOTH, "--scope", "tenant:acme"], machines.near);
    await until("b is stopped", async () => (await stopsOfB()) === 1);
    await ok(a, RESET, machines.near);
    await ok(b, RESET, machines.far);
    one.child.kill("SIGINT");
    expect((await one.ended).code).toBe(0);
    expect(watches()).toEqual([]);
  });

  it("says so while nothing is heard, wherever it is asked", async () => {
    // Who read before is gone: what is left of its lease runs out, and nothing is wrong by that.
    await until("nobody reads", async () => {
      const { code, found } = await health();
      expect(code).toBe(0);
      return (found["lease"] as Json)["state"] === "unwatched";
    });
    expect((await health("--watched")).code).toBe(5);
    const one = serve(machines.far);
    await until("it watches", () => countOf(one, "watching") > 0);
    await until("it is live", async () => (await healthz(one)).status === 200);
    expect(await healthz(one)).toMatchObject({ body: { lease: "live" } });
    const { code, found } = await health("--watched");
    expect({ code, found }).toMatchObject({
      code: 0,
      found: {
        runner_status: "HEALTHY",
        lease: { state: "live", ms: 5000, read_by: watches()[0] },
      },
    });
    expect((await b.run(["health"])).out).toMatch(/lease: live, \d+ of 5000 ms left/);

    machines.proxy.cut("refused");
    await until("it is told", () => countOf(one, "unheard") > 0);
    await until("its monitors, too", async () => (await healthz(one)).status === 503);
    expect(await healthz(one)).toMatchObject({ body: { lease: "ended", scram_armed: true } });
    expect(await health()).toMatchObject({
      code: 5,
      found: { runner_status: "HALTED", scram_armed: true, lease: { state: "ended", left_ms: 0 } },
    });
    const status = await b.run(["scram", "status"]);
    expect(status.out).toMatch(/lease: ENDED.*last read \d{4}-.* by process \d+/);
    machines.proxy.heal();
    await until("it is heard again", () => countOf(one, "heard") > 0);
    await until("it is live again", async () => (await healthz(one)).status === 200);

    // The watch is started again; and it does not outlive a server that is killed.
    const [watch] = watches();
    process.kill(watch as number, "SIGKILL");
    await until("it is said", () => countOf(one, "unwatched") > 0);
    await until("another watches", () => countOf(one, "watching") > 1);
    one.child.kill("SIGKILL");
    await until("the watch ends", () => watches().length === 0);
  });

  it("says what to type where it has no database", async () => {
    const one = serve({});
    await until("it is said", () => countOf(one, "unwatched") > 0);
    const [said] = one.events.filter(({ event }) => event === "unwatched");
    expect(said?.["why"]).toContain("sovereign nodes watch");
    one.child.kill("SIGINT");
    expect((await one.ended).code).toBe(0);
  });
});
