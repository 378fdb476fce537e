import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  canonicalBytes,
  hexDecode,
  hexEncode,
  type JsonObject,
  leafHash,
  openCheckpoint,
  parseCanonicalJson,
  verifyInclusionSet,
} from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EMPTY_STREAM, StreamWriter } from "../../src/ledger/index.ts";
import { RunRecorder } from "../../src/runs/index.ts";
import { systemClock } from "../../src/system/index.ts";
import { HeadFile } from "../../src/store/head-file.ts";
import { Store } from "../../src/store/index.ts";
import { fieldsOf, itemFor, newStream } from "../support/entries.ts";
import { testSigner } from "../support/keys.ts";

const folder = mkdtempSync(join(tmpdir(), "sov-store-"));
const options = {
  folder: join(folder, "postgres"),
  headsFolder: join(folder, "ledger"),
  databaseUrl: null,
};
let store: Store;

beforeAll(async () => {
  store = await Store.open(options);
});
afterAll(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A step of a run that completed with an output, as the run's recorder commits it. */
async function completed(tenantId: string, output: JsonObject): Promise<string> {
  const runId = newStream();
  const writer = new StreamWriter(store, tenantId, runId, EMPTY_STREAM);
  const clock = systemClock;
  const recorder = new RunRecorder({ runId, tenantId, writer, clock, epoch: null });
  const [name, mode, status] = ["outputs", "sovereign", "running"] as const;
  const plan = { plan: Buffer.from("{}"), planDigest: "0".repeat(64) };
  const run = { runId, tenantId, name, mode, status, ...plan, reason: null, sealed: null };
  const rest = { severity: "INFO", envelopes: [], nonces: [], keyEpoch: null } as const;
  const place = { step_id: "promote", attempt: 1 };
  const action_digest = "1".repeat(64);
  const events: [string, JsonObject][] = [
    ["run.admitted", {}],
    ["execution.authorized", { context: place, action_digest }],
    ["execution.completed", { ...place, action_digest, artifacts: [], usage: {}, output }],
  ];
  for (const [event, data] of events) {
    const row = event === "run.admitted" ? run : null;
    const verdict = await recorder.write({ event, data, ...rest }, row);
    expect(verdict).toMatchObject({ status: "committed" });
  }
  return runId;
}

describe("the store", () => {
  it("finds what completed steps of a tenant recorded, and of no other tenant", async () => {
    const own = await completed("switches", { model: "penguins", version: 1 });
    await completed("switches", { model: "other", version: 1 });
    await completed("others", { model: "penguins", version: 1 });
    const found = await store.completedOutputs("switches", '"model":"penguins"');
    const outputs = found.map(({ runId, output }) => [runId, parseCanonicalJson(output)]);
    const output = { model: "penguins", version: 1 };
    expect(outputs).toEqual([[own, { artifacts: [], usage: {}, output }]]);
  });

  it("commits many streams at once and proves every entry under a signed head", async () => {
    const log = "proofs";
    const writers = Array.from({ length: 20 }, () => {
      const stream = newStream();
      return { stream, writer: new StreamWriter(store, log, stream, EMPTY_STREAM) };
    });
    for (let round = 0; round < 35; round++) {
      await Promise.all(
        writers.map(({ stream, writer }) => writer.append(fieldsOf(stream, `round ${round}`))),
      );
      if (round === 10) await store.sealCheckpoint(log, "origin", testSigner);
    }
    const { note, size } = await store.sealCheckpoint(log, "origin", testSigner);
    expect(size).toBe(700);
    const { checkpoint } = openCheckpoint(note, "origin", [testSigner.publicKey]);
    const own = [];
    for await (const entry of store.readStream(log, writers[3]!.stream)) own.push(entry);
    expect(own.length).toBe(35);
    const proof = await store.proveInclusionSet(
      log,
      size,
      own.map((entry) => entry.index),
    );
    verifyInclusionSet(
      checkpoint.root,
      size,
      own.map((entry) => ({ index: entry.index, hash: leafHash(entry.bytes) })),
      [...proof],
    );
  });

  it("signs heads of its own tree alone while others write and sign, and keeps the largest", async () => {
    const log = "heads";
    const stores = [store, await Store.open(options)];
    let writes = true;
    const writing = stores.map(async (one) => {
      while (writes) await one.commit({ ...itemFor(newStream()), log });
    });
    const sealing = Array.from({ length: 8 }, async (_, at) => {
      const sealed: { size: number; note: string }[] = [];
      const one = stores[at % stores.length]!;
      while (sealed.length < 60) sealed.push(await one.sealCheckpoint(log, "origin", testSigner));
      return sealed;
    });
    const heads = (await Promise.all(sealing)).flat();
    writes = false;
    await Promise.all(writing);
    const roots = new Map<number, string>();
    for (const { size, note } of heads) {
      const { checkpoint } = openCheckpoint(note, "origin", [testSigner.publicKey]);
      expect(checkpoint.size).toBe(size);
      const root = hexEncode(checkpoint.root);
      expect(roots.get(size) ?? root).toBe(root);
      roots.set(size, root);
    }
    const largest = Math.max(...roots.keys());
    const kept = new HeadFile(options.headsFolder, log).read();
    expect(kept).toEqual({ size: largest, root: roots.get(largest) });
    await stores[1]?.close();
  });

  it("refuses a stream that does not stand where the writer thought", async () => {
    const item = itemFor(newStream());
    expect(await store.commit(item)).toMatchObject({ status: "committed" });
    expect(await store.commit(item)).toMatchObject({ reason: "stream_conflict" });
  });

  it("refuses a nonce that was used, and commits the others of the same batch", async () => {
    const nonces = [{ nonce: "ab".repeat(16), expiresAt: "2026-01-01T00:00:00.000Z" }];
    expect(await store.commit({ ...itemFor(newStream()), nonces })).toMatchObject({
      status: "committed",
    });
    const verdicts = await Promise.all([
      store.commit(itemFor(newStream())),
      store.commit({ ...itemFor(newStream()), nonces }),
      store.commit(itemFor(newStream())),
    ]);
    expect(verdicts.map((verdict) => verdict.status)).toEqual([
      "committed",
      "refused",
      "committed",
    ]);
    expect(verdicts[1]).toMatchObject({ reason: "nonce_used" });
  });

  it("refuses an old key epoch and an old fence", async () => {
    expect(await store.commit({ ...itemFor(newStream()), keyEpoch: 7 })).toMatchObject({
      reason: "key_epoch",
    });
    const runId = newStream();
    const plan = canonicalBytes({ steps: [] });
    const run = {
      runId,
      tenantId: "acme",
      name: "test",
      mode: "sovereign",
      status: "running",
      plan,
      planDigest: "0".repeat(64),
      reason: null,
      sealed: null,
    } as const;
    await store.commit({ ...itemFor(runId), run });
    expect(await store.claimRun("acme", runId)).toBe(2);
    const next = { ...itemFor(newStream()), fence: { runId, epoch: 1 } };
    expect(await store.commit(next)).toMatchObject({ reason: "fenced" });
    expect(await store.commit({ ...next, fence: { runId, epoch: 2 } })).toMatchObject({
      status: "committed",
    });
    expect(await store.findRun("acme", runId)).toMatchObject({ name: "test", status: "running" });
  });

  it("shows one tenant nothing of another", async () => {
    const stream = newStream();
    await store.commit(itemFor(stream, "globex"));
    expect(await store.streamHead("globex", stream)).toMatchObject({ count: 1 });
    expect(await store.streamHead("acme", stream)).toEqual(EMPTY_STREAM);
  });

  it("keeps the hash of each entry as it was computed by the writer", async () => {
    const item = itemFor(newStream(), "hashes");
    await store.commit(item);
    for await (const entry of store.readLog("hashes")) {
      expect(entry.hash).toBe(item.entries[0]?.hash);
      expect(hexDecode(entry.hash).length).toBe(32);
    }
  });
});
