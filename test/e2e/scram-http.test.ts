import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { endOf, Installation, type Json, untilPaths, writeLongBatch } from "./cli.ts";

let installation: Installation;
let operators: Installation;
let folder: string;
let batch: string;
let server: { child: ChildProcess; url: string; lines: Json[]; ended: ReturnType<typeof endOf> };
beforeEach(async () => {
  installation = new Installation({ server: "started" });
  operators = new Installation();
  folder = mkdtempSync(join(tmpdir(), "sov-http-"));
  batch = writeLongBatch(folder);
  const keys = ["keys", "init", "--role", "runner", "--operator", "alice", "--architect", "bob"];
  await installation.run(keys);
  server = await serve();
});
afterEach(async () => {
  server.child.kill("SIGKILL");
  await server.ended;
  await installation.dispose();
  await operators.dispose();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(): Promise<typeof server> {
  const child = installation.start(["scram", "serve", "--listen", "127.0.0.1:0", "--json"]);
  const ended = endOf(child);
  const lines: Json[] = [];
  child.stdout?.on("data", (chunk) => {
    for (const line of String(chunk).trim().split("\n")) lines.push(JSON.parse(line) as Json);
  });
  await until(() => lines.length > 0);
  return { child, url: String(lines[0]?.["url"]), lines, ended };
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; waited < 60_000; waited += 100) {
    if (await what()) return;
    await sleep(100);
  }
  throw new Error("it did not come");
}

async function one(
  args: readonly string[],
  from = installation,
): Promise<{ code: number | null; found: Json }> {
  const { code, documents } = await from.json(args);
  return { code, found: documents.at(-1) ?? {} };
}

const running = async (): Promise<boolean> => {
  const { found } = await one(["scram", "status"]);
  return (found["sentinel"] as Json | null)?.["paths"] === 1;
};

/** The file of a key: what its holder keeps on another machine. */
async function keyFile(holder: string): Promise<string> {
  const { documents } = await installation.json(["scram", "keys"]);
  const id = String(documents.find((key) => key["holder"] === holder)?.["key_id"]).slice(0, 16);
  const keys = join(installation.home, "keys");
  return join(keys, readdirSync(keys).find((name) => name.includes(id)) ?? "");
}

describe("a server of the kill switch", () => {
  it("stops while the main process is wedged and the database is down, and has it recorded", async () => {
    const control = installation.start(["batch", "run", batch]);
    const ended = endOf(control);
    await untilPaths(installation, 1);
    control.kill("SIGSTOP");
    const postmaster = join(installation.home, "postgres/data/postmaster.pid");
    process.kill(Number(readFileSync(postmaster, "utf8").split("\n")[0]), "SIGKILL");

    // From another machine, which knows the installation's name and the two keys alone.
    const { found: status } = await one(["scram", "status"]);
    expect(status).toMatchObject({ state: "ARMED" });
    const id = readFileSync(join(installation.home, "installation.json"), "utf8");
    const { installation_id } = JSON.parse(id) as { installation_id: string };
    const send = ["--url", server.url, "--installation", installation_id];
    const both = [
      "--operator-key",
      await keyFile("alice"),
      "--architect-key",
      await keyFile("bob"),
    ];
    const stop = await one(["scram", "activate", ...both, ...send], operators);
    expect(stop).toMatchObject({
      code: 0,
      found: {
        kind: "stopped",
        event: { scram_state: "COMPLETE", execution_paths_terminated: 1 },
        receipt: { authorized: true, stragglers: [] },
        checked: false,
      },
    });
    control.kill("SIGKILL");
    await ended;

    // The server itself starts the database again, and takes the stop into the ledger.
    await until(() => server.lines.some((line) => line["event"] === "recorded"));
    const { event } = stop.found as { event: Json };
    const out = join(folder, "audit.jsonl");
    const audit = ["audit", "export", "--log", "installation", "--out", out];
    expect((await installation.run(audit)).code).toBe(0);
    expect(readFileSync(out, "utf8")).toContain(String(event["event_id"]));
    expect(server.lines.map((line) => line["event"])).toEqual(["listening", "stopped", "recorded"]);
    expect((await one(["scram", "status"])).code).toBe(5);
  });

  it("takes orders of two people, refuses with exit codes, and leaves what runs alone", async () => {
    const control = installation.start(["batch", "run", batch, "--json"]);
    const ended = endOf(control);
    await untilPaths(installation, 1);
    const send = ["--url", server.url];

    // Ctrl-C at the server is no stop.
    server.child.kill("SIGINT");
    expect(await server.ended).toMatchObject({ code: 0, err: "" });
    expect(await running()).toBe(true);
    const nobody = await one(["scram", "authorize", "--operator-key", "alice", ...send]);
    expect(nobody).toMatchObject({ code: 1, found: { error: { code: "ERR_HTTP_UNREACHABLE" } } });

    server = await serve();
    const again = ["--url", server.url];
    const order = join(folder, "order.json");
    const both = ["--operator-key", "alice", "--architect-key", "bob"];
    await one(["scram", "prepare", ...both, "--out", order]);
    const first = await one(["scram", "authorize", "--operator-key", "alice", ...again]);
    expect(first).toMatchObject({ code: 0, found: { kind: "pending", missing: "architect" } });
    const second = await one(["scram", "authorize", "--architect-key", "bob", ...again]);
    expect(second).toMatchObject({ code: 0, found: { kind: "stopped", checked: true } });
    expect((await ended).code).toBe(5);

    // A prepared order stops once.
    const prepared = ["scram", "activate", "--order", order, ...again];
    expect((await one(prepared)).code).toBe(0);
    const replay = await one(prepared);
    expect(replay).toMatchObject({
      code: 3,
      found: { error: { code: "ERR_SCRAM_ORDER_REPLAYED" } },
    });
    const misused = await installation.run(["scram", "activate", ...both, "--ca", "x"]);
    expect(misused).toMatchObject({ code: 2 });
    expect(misused.err).toContain("go with --url");
  });
});
