import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { getPriority } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  base64Decode,
  canonicalBytes,
  digestOf,
  type Envelope,
  type JsonValue,
  parseEnvelope,
  parseStatement,
  type ScramEvent,
  verifyEnvelope,
} from "@sovereign/core";
import { describe, expect, it, vi } from "vitest";
import type { DrillRig } from "../../src/services/index.ts";
import { connectScram } from "../../src/home/index.ts";
import { programCommand } from "../../src/home/sentinel-process.ts";
import { connectSandbox } from "../../src/sandbox/index.ts";
import { Journal, readKeyFile } from "../../src/scram/index.ts";

import {
  children,
  ENVIRONMENT,
  killEngine,
  OWNER,
  pidsOf,
  quiet,
  rig,
  stateOf,
  trivial,
} from "../support/scram-rig.ts";

/** CAP_SYS_NICE, by its number. */
const MAY_COME_FIRST =
  (BigInt(`0x${/CapEff:\s+(\w+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"}`) &
    (1n << 23n)) !==
  0n;

/** How the kernel ranks a process's session; empty where it does not share by session. */
function sessionRank(pid: number | "self"): string {
  const path = `/proc/${pid}/autogroup`;
  return existsSync(path) ? (/ nice .*$/m.exec(readFileSync(path, "utf8"))?.[0] ?? "none") : "";
}

const BOUND = { timeout: 20_000 };

describe("a stop", () => {
  it("leaves nothing alive, is proved by a signed receipt, and holds until a reset", async () => {
    const one = await rig();
    await one.hold(10);
    expect(one.survivors()).toBeGreaterThan(10);
    const { event, body } = await one.stop();
    expect(one.survivors()).toBe(0);
    expect(event).toMatchObject({ scram_state: "COMPLETE", execution_paths_terminated: 10 });
    expect(event.invariants_failed).toEqual(["INV-SCRAM-003"]);
    expect(body).toMatchObject({ authorized: true, trigger: "order", stragglers: [], errors: [] });
    const { content_hash, ...content } = event;
    expect(digestOf(content)).toBe(content_hash);
    expectReceipt(one, event);

    const refused = connectSandbox(one.link, OWNER).run(trivial("true"), quiet);
    await expect(refused).rejects.toMatchObject({ code: "ERR_SCRAM_TRIPPED" });
    expect(one.link.preflight(OWNER)).toMatchObject({ armed: false, code: "ERR_SCRAM_TRIPPED" });

    // All processes gone, as after a reboot: it stays tripped.
    process.kill((await pidsOf(one.link)).pid, "SIGKILL");
    await sleep(50);
    expect(await stateOf(one)).toBe("COMPLETE");

    await expect(one.reset(false)).rejects.toMatchObject({ code: "ERR_SCRAM_RESET_REFUSED" });
    expect(await one.reset()).toMatchObject({ state: "ARMED", stops: [] });
    const fresh = await connectScram(one.home, ENVIRONMENT);
    const end = await connectSandbox(fresh, OWNER).run(trivial("echo on"), quiet);
    expect(Buffer.from(end.stdout).toString()).toBe("on\n");
    fresh.close();
  });

  it("needs no engine that listens: a wedged one dies with its paths", async () => {
    const one = await rig();
    await one.hold(5);
    const { engine } = await pidsOf(one.link);
    killEngine({ engine }, "SIGSTOP");
    const { event } = await one.stop();
    expect(event.scram_state).toBe("COMPLETE");
    expect(one.survivors()).toBe(0);
    expect(existsSync(`/proc/${String(engine)}/exe`)).toBe(false);
  });

  it("comes before others' work, and others' sessions, where it may", async () => {
    const { pid } = await pidsOf((await rig()).link);
    expect(getPriority(pid)).toBe(MAY_COME_FIRST ? -20 : getPriority());
    const rank = MAY_COME_FIRST ? " nice -20" : " nice 0";
    expect(sessionRank(pid)).toBe(sessionRank("self") === "" ? "" : rank);
  });

  it("leaves the session alone of who starts a sentinel by hand", async () => {
    const one = await rig();
    process.kill((await pidsOf(one.link)).pid, "SIGKILL");
    const before = sessionRank("self");
    const [command, ...args] = programCommand("sentinel");
    const child = spawn(command, [...args, one.home], { env: ENVIRONMENT, stdio: "ignore" });
    const path = join(one.home, "scram", "journal.jsonl");
    const started = { event: "sentinel.started", data: { pid: child.pid } };
    await vi.waitFor(() => {
      expect(Journal.open(path).lines.at(-1)).toMatchObject(started);
    }, BOUND);
    expect(getPriority(child.pid)).toBe(MAY_COME_FIRST ? -20 : getPriority());
    expect(sessionRank("self")).toBe(before);
    child.kill("SIGKILL");
  });

  it("of one tenant lets the others go on", async () => {
    const one = await rig();
    await one.hold(3, { tenant_id: "acme", run_id: `run_${"a".repeat(20)}` });
    await one.hold(3, { tenant_id: "other", run_id: `run_${"b".repeat(20)}` });
    const order = one.order({ scope: { kind: "tenant", tenant_id: "acme" } });
    const answer = await one.link.request({ t: "order", envelope: order });
    expect((answer as { event: ScramEvent }).event.execution_paths_terminated).toBe(3);
    expect(await one.link.request({ t: "status" })).toMatchObject({ paths: 3 });
    expect(one.survivors()).toBeGreaterThan(2);
    expect(one.link.preflight({ tenant_id: "acme", run_id: OWNER.run_id }).armed).toBe(false);
    const end = await connectSandbox(one.link, OWNER).run(trivial("exit 4"), quiet);
    expect(end.exitCode).toBe(4);
    await one.stop();
    expect(one.survivors()).toBe(0);
  });

  it("happens for an order that is badly signed, and is recorded as that", async () => {
    const one = await rig();
    await one.hold(2);
    const { operator } = one.signers;
    const [signature] = one.order().signatures;
    const order = { ...one.order(), signatures: [signature] as Envelope["signatures"] };
    expect(operator.publicKey.keyId).toBe(signature?.keyid);
    const answer = (await one.link.request({
      t: "order",
      envelope: order,
    })) as unknown as { event: ScramEvent; body: { authorized: boolean; refusal: string } };
    expect(answer.body.authorized).toBe(false);
    expect(answer.body.refusal).toMatch(/ERR_SCRAM_ORDER_(SIGNATURE|KEY)/);
    expect(answer.event.invariants_failed).toContain("INV-SCRAM-002");
    expect(one.survivors()).toBe(0);
  });

  it("is set off by two people one after the other", async () => {
    const one = await rig();
    const both = one.order();
    const [first, second] = both.signatures;
    const half = (signature: unknown): JsonValue =>
      ({ ...both, signatures: [signature] }) as unknown as JsonValue;
    expect(await one.link.request({ t: "authorize", envelope: half(first) })).toMatchObject({
      pending: { missing: "architect" },
    });
    expect(await stateOf(one)).toBe("ACTIVATING");
    const pending = (await one.link.request({ t: "pending" })) as { envelope: JsonValue };
    expect(parseEnvelope(pending.envelope).payload).toBe(both.payload);
    expect(await one.link.request({ t: "authorize", envelope: half(second) })).toMatchObject({
      event: { scram_state: "COMPLETE" },
      body: { authorized: true },
    });
  });

  it("is set off by the signal file, which needs neither keys nor a start of Node", async () => {
    const one = await rig();
    await one.hold(4);
    const folder = join(one.home, "scram");
    const signal = { command: "SCRAM_ACTIVATE", timestamp: "", pid: 1, reason: "security_breach" };
    writeFileSync(join(folder, "new"), JSON.stringify(signal), { mode: 0o600 });
    renameSync(join(folder, "new"), join(folder, "signal"));
    await vi.waitUntil(
      () => Journal.open(join(folder, "journal.jsonl")).lines.at(-1)?.event === "scram.executed",
      BOUND,
    );
    expect(one.survivors()).toBe(0);
    const { lines } = Journal.open(join(folder, "journal.jsonl"));
    expect(lines.at(-1)).toMatchObject({
      data: { event: { reason: "security_breach", operator_key_hash: null } },
    });
  });

  it("is not waited for by a path that the machine cannot confine as policy asks", async () => {
    const one = await rig();
    const { level } = (await one.link.request({ t: "status" })) as { level: string };
    const strict = connectSandbox(one.link, OWNER, { minimumLevel: "G3" }).run(
      trivial("exit 3"),
      quiet,
    );
    if (level === "G3") expect((await strict).exitCode).toBe(3);
    else await expect(strict).rejects.toMatchObject({ code: "ERR_SANDBOX_UNAVAILABLE" });
  });

  it("is refused what is no order, and survives a flood of it", async () => {
    const one = await rig();
    const garbage = one.link.request({ t: "order", envelope: { hello: "world" } });
    await expect(garbage).rejects.toMatchObject({ code: "ERR_SCRAM_ORDER_MALFORMED" });
    const { connect } = await import("node:net");
    process.chdir(join(one.home, "scram"));
    try {
      await Promise.all(
        Array.from({ length: 200 }, async (_, index) => {
          const socket = connect("sentinel.sock");
          socket.on("error", () => undefined);
          socket.write(Buffer.alloc(2000, index % 256));
          await new Promise((end) => socket.on("close", end));
        }),
      );
    } finally {
      process.chdir(resolve(import.meta.dirname, "../../../.."));
    }
    expect(await stateOf(one)).toBe("ARMED");
    const { event } = await one.stop();
    expect(event.scram_state).toBe("COMPLETE");
    const { lines } = Journal.open(join(one.home, "scram", "journal.jsonl"));
    expect(lines.filter((line) => line.event === "order.refused").length).toBeLessThanOrEqual(100);
  });
});

function expectReceipt(one: DrillRig, event: ScramEvent): void {
  const folder = join(one.home, "scram");
  const path = join(folder, "envelopes", `${event.receipt_digest}.json`);
  const envelope = parseEnvelope(readFileSync(path));
  const keys = readKeyFile(folder, null)?.keys.windows ?? [];
  const sentinel = keys.filter(({ record }) => record.purpose === "sentinel").map(({ key }) => key);
  const { body } = verifyEnvelope(envelope, sentinel);
  const receipt = parseStatement(body, "kill-receipt").predicate;
  expect(receipt).toMatchObject({ event_id: event.event_id, stragglers: [] });
  expect(receipt.t_reaped_ms).toBe(event.termination_latency_ms);
  expect(digestOf(envelope)).toBe(event.receipt_digest);
  expect(canonicalBytes(receipt).length).toBeLessThan(base64Decode(envelope.payload).length);
}

describe("an order at a random instant of a start", () => {
  it("lets no payload run after the latch is there", async () => {
    const late: string[] = [];
    for (let trial = 0; trial < 8; trial++) {
      const one = await rig();
      const out = join(one.home, "out");
      mkdirSync(out);
      // Each path writes a file of its own as its first act.
      const running = Array.from({ length: 6 }, (_, index) =>
        connectSandbox(one.link, OWNER)
          .run(trivial(`: > /out/${index}; sleep 60`, [{ source: out, target: "/out" }]), quiet)
          .catch(() => undefined),
      );
      await sleep(trial * 7);
      const { event } = await one.stop();
      expect(event.scram_state).toBe("COMPLETE");
      // No gate was opened once the stop was in force.
      expect(event.invariants_passed).toContain("INV-SYS-002");
      await Promise.all(running);
      // One that was let go just before may act until it is dead.
      const took = event.termination_latency_ms ?? 0;
      const dead = statSync(join(one.home, "scram", "LATCH")).mtimeMs + took;
      for (const name of readdirSync(out)) {
        if (statSync(join(out, name)).mtimeMs > dead + 2) late.push(`${trial}/${name}`);
      }
      expect(one.survivors()).toBe(0);
    }
    expect(late).toEqual([]);
  });
});

describe("a program that embeds the library", () => {
  async function start(
    one: DrillRig,
    manner: string,
  ): Promise<{ child: ChildProcess; out: () => string }> {
    const program = resolve(import.meta.dirname, "../support/embedding-program.ts");
    const child = spawn(process.execPath, [program, one.home, manner], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env },
    });
    children.push(child);
    let out = "";
    child.stdout.on("data", (chunk) => (out += String(chunk)));
    while (!out.includes("registered")) await sleep(10);
    return { child, out: () => out };
  }

  it("ends its own work in time, and lives on", async () => {
    const one = await rig();
    const { child, out } = await start(one, "polite");
    const { event, body } = await one.stop();
    expect(event.scram_state).toBe("COMPLETE");
    expect(body.paths).toMatchObject([{ path_id: "settlement", tenant_id: "embedder" }]);
    expect(body.hooks).toEqual([
      { id: "audit", outcome: "ok" },
      { id: "broken", outcome: "failed" },
    ]);
    expect(out()).toContain("terminated");
    expect(child.exitCode).toBeNull();
    expect(child.signalCode).toBeNull();
  });

  it("gives an order itself: what it holds is dead when it hears so, its own work too", async () => {
    const one = await rig();
    await one.hold(3);
    const { child, out } = await start(one, "polite");
    child.stdin?.write(`${JSON.stringify(one.order())}\n`);
    while (!out().includes("stopped")) await sleep(10);
    expect(out()).toContain("stopped COMPLETE");
    expect(one.survivors()).toBe(0);
    expect(out()).toContain("terminated");
    expect(child.exitCode).toBeNull();
  });

  it.each(["stubborn", "failing"])(
    "is killed within the bound when its handler is %s",
    async (manner) => {
      const one = await rig();
      const { child } = await start(one, manner);
      const { event, body } = await one.stop();
      expect(event.scram_state).toBe("COMPLETE");
      expect(body.stragglers).toEqual([]);
      await sleep(50);
      expect(child.signalCode).toBe("SIGKILL");
    },
  );
});
