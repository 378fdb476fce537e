import { spawn } from "node:child_process";
import { chmodSync, cpSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  canonicalBytes,
  digestOf,
  type Envelope,
  INSTALLATION_LOG,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  sha256Hex,
} from "@sovereign/core";
import { joinScram } from "../../../src/home/index.ts";
import { refusalOf } from "../../../src/home/refusal-file.ts";
import { SovereignRunner } from "../../../src/services/batch/batch-runner.ts";
import type { SandboxResult } from "../../../src/sandbox/index.ts";
import { createEntry, EMPTY_STREAM } from "../../../src/ledger/index.ts";
import { ACME, NodeRig, OTHER, TestNode, until } from "../../support/node-rig.ts";
import { query, startPooler } from "../../support/postgres-server.ts";

let rig: NodeRig | null = null;
afterEach(async () => {
  await rig?.close();
  rig = null;
});

/** Two machines, both on. Where nobody is cut off, a lease outlasts whatever this machine does. */
async function two(
  config = "{ lease_ms: 30000 }",
): Promise<{ rig: NodeRig; a: TestNode; b: TestNode }> {
  rig = await NodeRig.open(2, config);
  const [a, b] = rig.nodes as [TestNode, TestNode];
  return { rig, a, b };
}

const SHORT = "{ lease_ms: 4000 }";
const TRIPPED = { code: "ERR_SCRAM_TRIPPED" };
const UNLEASED = { code: "ERR_SCRAM_LEASE" };

/** How a path ended: by the error's code, or by what the engine said. */
function fateOf(ended: Promise<SandboxResult>): Promise<string> {
  return ended.then(
    (result) => result.ended,
    (error: unknown) => (isSovereignError(error) ? error.code : String(error)),
  );
}

function untilStopped(node: TestNode, times = 1): Promise<void> {
  return until("it has stopped", () => node.lines("scram.executed").length === times);
}

describe("an order on one machine", () => {
  it("stops the other, and both stops are in one log", async () => {
    const { rig, a, b } = await two();
    await a.hold(ACME);
    const fate = fateOf((await b.hold(ACME)).ended);
    const watching = await a.installation.store.connected();
    expect(watching).toContain(`sovereign ${b.installation.node.id}`);
    const { body } = await rig.stop(a);
    expect(body).toMatchObject({ authorized: true, trigger: "order" });
    await untilStopped(b);
    expect(await fate).toBe("ERR_SCRAM_TRIPPED");
    expect(a.survivors + b.survivors).toBe(0);
    expect(b.lines("scram.executed")[0]).toMatchObject({
      event: { scram_state: "COMPLETE", execution_paths_terminated: 1 },
      origin: { node_id: a.installation.node.id },
    });
    expect(b.lines("scram.activated")).toMatchObject([{ trigger: "peer" }]);
    const streams = [a.installation.node.stream, b.installation.node.stream];
    await until("B's stop is in the log", async () => (await stopsIn(b)).length === 2);
    expect(await stopsIn(a)).toEqual(streams);
    // What B did is no news for A, and B does what it did once.
    await b.off();
    await b.on();
    await expect(b.run(ACME, "true")).rejects.toMatchObject(TRIPPED);
    expect(a.lines("scram.executed").length + b.lines("scram.executed").length).toBe(2);
  });

  it("of a tenant or a run stops that there, too, and nothing else", async () => {
    const { rig, a, b } = await two();
    const acme = fateOf((await b.hold(ACME)).ended);
    const other = fateOf((await b.hold(OTHER)).ended);
    await rig.stop(a, { scope: { kind: "tenant", tenant_id: "acme" } });
    await untilStopped(b);
    expect(await acme).toBe("signalled");
    expect(await b.run(OTHER, "exit 4")).toMatchObject({ exitCode: 4 });
    await rig.stop(a, { scope: { kind: "run", run_id: OTHER.run_id } });
    await untilStopped(b, 2);
    expect(await other).toBe("signalled");
    expect(b.survivors).toBe(0);
  });

  it("is in force on one that was off, before anything runs there; for one that joins later it is not", async () => {
    const { rig, a, b } = await two();
    await b.off();
    await rig.stop(a, {});
    await until("A's stop is in the log", async () => (await stopsIn(a)).length === 1);
    await b.on();
    await expect(b.run(ACME, "true")).rejects.toMatchObject(TRIPPED);
    expect(b.lines("scram.activated")).toMatchObject([{ trigger: "peer" }]);
    const c = await rig.add();
    expect(await c.run(ACME, "exit 3")).toMatchObject({ exitCode: 3 });
  });

  it("counts by keys that were good then: enrolled while the other watched, or withdrawn since", async () => {
    const { rig, a, b } = await two();
    await b.link();
    const { keyLog, keystore } = a.installation;
    const added = await keyLog.introduce(keystore, { purpose: "operator", role: "new" });
    a.installation.publishKeys();
    const [, architect] = await rig.signers();
    const signer = await keystore.signer(added.key_id);
    const link = await a.link();
    const scope = { kind: "tenant", tenant_id: "acme" } as const;
    await link.request({ t: "order", envelope: await rig.order({ scope }, [signer, architect]) });
    await untilStopped(b);
    await b.off();
    const second = await rig.order({ scope: { kind: "all" } }, [signer, architect]);
    await link.request({ t: "order", envelope: second });
    await until("A's second stop is in the log", async () => (await stopsIn(a)).length === 3);
    await keyLog.revoke(keystore, added.key_id, "left", false);
    await b.on();
    await expect(b.run(OTHER, "true")).rejects.toMatchObject(TRIPPED);
  });

  it("travels, and a reset does not", async () => {
    const { rig, a, b } = await two();
    await b.link();
    await rig.stop(a);
    await untilStopped(b);
    expect(await rig.reset(a)).toMatchObject({ state: "ARMED" });
    expect(await a.run(ACME, "exit 2")).toMatchObject({ exitCode: 2 });
    await expect(b.run(ACME, "true")).rejects.toMatchObject(TRIPPED);
    expect(await rig.reset(b)).toMatchObject({ state: "ARMED" });
    expect(await b.run(ACME, "exit 2")).toMatchObject({ exitCode: 2 });
  });
});

describe("behind a pooler in transaction mode, which loses notifications", () => {
  it("an order stops the other machine, and a lease is renewed", async () => {
    rig = await NodeRig.open(1, SHORT);
    mkdirSync(join(rig.folder, "pooler"));
    const pooler = await startPooler(join(rig.folder, "pooler"), rig.server);
    try {
      const [a] = rig.nodes as [TestNode];
      const b = await rig.add(SHORT, pooler.url);
      expect(await b.run(ACME, "sleep 5; exit 8")).toMatchObject({ exitCode: 8 });
      const fate = fateOf((await b.hold(ACME)).ended);
      await rig.stop(a);
      expect(await fate).toBe("ERR_SCRAM_TRIPPED");
      await b.off();
    } finally {
      await pooler.stop();
    }
  });
});

describe("what somebody writes into the database", () => {
  it("stops nothing without two keys, and is recorded once", async () => {
    const { rig, b } = await two();
    await b.link();
    const [operator] = await rig.signers();
    const forged = (await rig.order({}, [operator, operator])) as unknown as Envelope;
    await forge(rig, forged);
    const refusals = (): JsonObject[] => b.lines("order.refused");
    await until("it is refused", () => refusals().length > 0);
    const altered = (await rig.order()) as unknown as Envelope;
    const payload = Buffer.from(altered.payload, "base64")
      .toString()
      .replace("security", "Security");
    await forge(rig, { ...altered, payload: Buffer.from(payload).toString("base64") });
    await until("the other is, too", () => refusals().length > 1);
    for (let again = 0; again < 2; again++) {
      await b.off();
      await b.on();
      expect(await b.run(ACME, "exit 1")).toMatchObject({ exitCode: 1 });
    }
    expect(refusals()).toMatchObject([
      { code: "ERR_SCRAM_ORDER_SIGNATURE", origin: { node_id: FORGER } },
      { code: "ERR_SCRAM_ORDER_MALFORMED", origin: { node_id: FORGER } },
    ]);
    expect(b.latched).toBe(false);
  });

  it("or takes out of it, where an order may have stood, ends all work", async () => {
    const { rig, b } = await two(SHORT);
    const { ended } = await b.hold(ACME);
    const fate = fateOf(ended);
    await forge(rig, (await rig.order()) as unknown as Envelope, false);
    expect(await fate).toBe("ERR_SCRAM_LEASE");
    expect(b.latched).toBe(false);
    await b.off();
    await b.on();
    await expect(b.link()).rejects.toMatchObject({ code: "ERR_LEDGER_CORRUPT" });
  });
});

describe("a database that is set back", () => {
  it("is told what it lost by the machine that recorded it, and stops the others", async () => {
    const { rig, a, b } = await two(SHORT);
    const { ended } = await b.hold(ACME);
    const fate = fateOf(ended);
    const size = await logSize(rig);
    b.proxy.cut("silent");
    await rig.stop(a);
    await until("the order is in the log", async () => (await stopsIn(a)).length > 0);
    expect(await fate).toBe("ERR_SCRAM_LEASE");
    // A failover to a server that had not received the last entries.
    await setBack(rig, size);
    b.proxy.heal();
    await untilStopped(b);
    await expect(b.run(ACME, "true")).rejects.toMatchObject(TRIPPED);
    await until("the log says that it was set back", async () => {
      const said: string[] = [];
      for await (const { bytes } of a.installation.store.readStream(INSTALLATION_LOG, "ledger")) {
        said.push(Buffer.from(bytes).toString("utf8"));
      }
      return said.some((line) => line.includes("ledger.set_back"));
    });
  });
});

describe("a copy of a machine's data folder", () => {
  it("stops the machine that it is a copy of, by an order with both keys, and is an alarm", async () => {
    const { rig, a } = await two();
    const { ended } = await a.hold(ACME);
    const fate = fateOf(ended);
    await until("all is in the log", async () => {
      const { store, node } = a.installation;
      const { count } = await store.streamHead(INSTALLATION_LOG, node.stream);
      return count === a.journal.length;
    });
    const copy = new TestNode(join(rig.folder, "copy"), a.proxy, a.url);
    const out = (path: string): boolean => !/\.sock$|\/out-/.test(path);
    cpSync(a.home, copy.home, { recursive: true, filter: out });
    chmodSync(join(copy.home, "keys"), 0o700);
    await copy.on();
    rig.nodes.push(copy);
    await rig.stop(copy);
    expect(await fate).toBe("ERR_SCRAM_TRIPPED");
    await untilStopped(a);
    await until("it is an alarm", () => refusalOf(a.home)?.includes("ERR_NODE_CLONED") === true);
    const health = await SovereignRunner.healthCheck(
      () => Promise.resolve({ state: "ARMED", stops: [] }),
      refusalOf(a.home),
    );
    expect(health).toMatchObject({ runner_status: "HALTED" });
  });
});

describe("a machine that is cut off from the database", () => {
  it.each(["refused", "silent"] as const)(
    "(%s) kills what runs when its lease ends, refuses work, and goes on afterwards",
    async (how) => {
      const { b } = await two(SHORT);
      const { ended } = await b.hold(ACME);
      const fate = fateOf(ended);
      b.proxy.cut(how);
      expect(await fate).toBe("ERR_SCRAM_LEASE");
      expect(b.survivors).toBe(0);
      await until("it is recorded", () => b.lines("lease.ended").length > 0);
      expect(b.lines("lease.ended")).toMatchObject([{ paths: 1, stragglers: 0 }]);
      await expect(b.run(ACME, "true")).rejects.toMatchObject(UNLEASED);
      expect(b.latched).toBe(false);
      b.proxy.heal();
      await until("it runs again", () => runs(b));
      expect(b.latched).toBe(false);
    },
  );

  it("is dead by its lease when an order is given, and tripped by it once it hears, however late", async () => {
    const { rig, a, b } = await two(SHORT);
    const { ended } = await b.hold(ACME);
    const fate = fateOf(ended);
    b.proxy.cut("silent");
    const link = await a.link();
    const order = await rig.order({}, undefined, 6000);
    await link.request({ t: "order", envelope: order });
    expect(await fate).toBe("ERR_SCRAM_LEASE");
    await until("the order is in the log", async () => (await stopsIn(a)).length > 0);
    await until("the order has lapsed", () => lapsed(order));
    expect(b.latched).toBe(false);
    b.proxy.heal();
    await untilStopped(b);
    expect(b.lines("scram.activated")).toMatchObject([{ trigger: "peer" }]);
    await expect(b.run(ACME, "true")).rejects.toMatchObject(TRIPPED);
  });

  it("kills the paths of a control that is stopped, without it", async () => {
    const { a, b } = await two(SHORT);
    const program = resolve("packages/runtime/test/support/hold-paths.ts");
    const control = spawn(process.execPath, [program, b.home, b.mark, b.url], {
      env: { PATH: process.env["PATH"] },
      stdio: "ignore",
    });
    try {
      await b.off();
      await until("its path runs", () => b.payloads > 0);
      control.kill("SIGSTOP");
      await until("its path is dead", () => b.payloads === 0);
      await until("it is recorded", () => b.lines("lease.ended").length > 0);
      expect(b.lines("lease.ended")).toMatchObject([{ paths: 1, stragglers: 0 }]);
      expect(b.latched).toBe(false);
      expect(await a.run(ACME, "exit 5")).toMatchObject({ exitCode: 5 });
    } finally {
      control.kill("SIGKILL");
    }
  });

  it("ends the work of embedding programs, too, and registers none before it hears again", async () => {
    const { b } = await two(SHORT);
    await b.link();
    const member = await joinScram(b.home, { PATH: process.env["PATH"] }, OTHER);
    let ended = 0;
    const end = (): void => {
      ended += 1;
    };
    await member.registerExecutionPath("work", end);
    b.proxy.cut("refused");
    await until("the handler is called", () => ended === 1);
    await until("it is recorded", () => b.lines("lease.ended").length > 0);
    expect(b.lines("lease.ended")).toMatchObject([{ paths: 1, stragglers: 0 }]);
    expect(member.preflight()).toMatchObject(UNLEASED);
    await expect(member.registerExecutionPath("more", end)).rejects.toMatchObject(UNLEASED);
    b.proxy.heal();
    await until("it may begin again", () => member.preflight().armed);
    await member.registerExecutionPath("more", end);
    member.close();
  });

  it("goes on where the configuration says that it is the only one", async () => {
    const { rig, a, b } = await two("{ lease_ms: null }");
    const { ended } = await b.hold(ACME);
    b.proxy.cut("refused");
    expect(await b.run(OTHER, "sleep 3; exit 6")).toMatchObject({ exitCode: 6 });
    b.proxy.heal();
    const fate = fateOf(ended);
    await rig.stop(a);
    expect(await fate).toBe("ERR_SCRAM_TRIPPED");
  });
});

async function logSize(rig: NodeRig): Promise<number> {
  const sql = `select max(index) + 1 as size from sovereign.entries where log_id = '${INSTALLATION_LOG}'`;
  const found = await query(ownerOf(rig), sql);
  return Number((found.rows[0] as { size: string }).size);
}

/** As after a failover to a server that lacks what came last. */
async function setBack(rig: NodeRig, size: number): Promise<void> {
  await query(
    ownerOf(rig),
    `begin; alter table sovereign.entries disable trigger append_only;
     delete from sovereign.entries where log_id = '${INSTALLATION_LOG}' and index >= ${size};
     alter table sovereign.entries enable trigger append_only; commit`,
  );
}

function ownerOf(rig: NodeRig): string {
  return rig.server.superuser.replace(/postgres$/, "app");
}

/** The streams of the installation's log in which stops stand. */
async function stopsIn(node: TestNode): Promise<string[]> {
  const found: string[] = [];
  for await (const { bytes } of node.installation.store.readLog(INSTALLATION_LOG)) {
    const entry = JSON.parse(Buffer.from(bytes).toString()) as JsonObject;
    if (entry["event_type"] === "scram.executed") found.push(entry["stream"] as string);
  }
  return found;
}

async function runs(node: TestNode): Promise<boolean> {
  try {
    return (await node.run(ACME, "exit 7")).exitCode === 7;
  } catch {
    return false;
  }
}

function lapsed(order: JsonValue): boolean {
  const { payload } = order as unknown as Envelope;
  const { predicate } = JSON.parse(Buffer.from(payload, "base64").toString()) as {
    predicate: { expires_at: string };
  };
  return new Date().toISOString() > predicate.expires_at;
}

const FORGER = `nod_${"f".repeat(20)}`;
let forgeries = 0;

/** As the server's superuser, who may write what no function of ours would. */
async function forge(rig: NodeRig, order: Envelope, whole = true): Promise<void> {
  const envelope = canonicalBytes(order);
  const head =
    forgeries === 0 ? EMPTY_STREAM : { count: forgeries, hash: sha256Hex(Buffer.from("x")) };
  const { bytes, hash } = createEntry(head, {
    stream: `scram/${FORGER}`,
    tenantId: INSTALLATION_LOG,
    runId: null,
    timestamp: new Date().toISOString(),
    eventType: "scram.executed",
    severity: "CRITICAL",
    data: {
      event: { invariants_passed: ["INV-SCRAM-002"] },
      envelopes: { order: digestOf(order) },
    },
  });
  forgeries += 1;
  const hex = (value: Uint8Array): string => `'\\x${Buffer.from(value).toString("hex")}'::bytea`;
  const url = ownerOf(rig);
  if (whole) {
    await query(
      url,
      `insert into sovereign.envelopes values ('${INSTALLATION_LOG}', '${digestOf(order)}', ${hex(envelope)})`,
    );
  }
  await query(
    url,
    `insert into sovereign.entries (log_id, index, stream, sequence, hash, bytes)
     select '${INSTALLATION_LOG}', max(index) + 1, 'scram/${FORGER}', ${head.count}, '\\x${hash}', ${hex(bytes)}
     from sovereign.entries where log_id = '${INSTALLATION_LOG}'`,
  );
}
