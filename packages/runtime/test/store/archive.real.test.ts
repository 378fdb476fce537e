import {
  INSTALLATION_LOG,
  leafHash,
  verifyInclusionSet,
  parseCheckpointText,
} from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEntry, type StoredEntry } from "../../src/ledger/index.ts";
import {
  type ArchiveKeeper,
  type Batch,
  keepArchives,
  repairLedger,
} from "../../src/store/index.ts";
import { beginWith } from "../support/claims.ts";
import {
  ARCHIVE,
  commitSealedRun,
  digestOfStreams,
  recordOf,
  type SealedRun,
} from "../support/archived-run.ts";
import { fieldsOf, itemFor, keyItem, newStream } from "../support/entries.ts";
import { testSigner } from "../support/keys.ts";
import { openPooledWorld, openTenantWorld, type TenantWorld } from "../support/tenant-world.ts";

/** What the triggers say of every change that no recorded archive allows. */
const REFUSED = { code: "42501" };
const TAKE = "update sovereign.entries set leaf = sha256('\\x00'::bytea || bytes), bytes = null";
let world: TenantWorld;
beforeAll(async () => {
  world = await openTenantWorld();
  await world.store.commit(keyItem());
});
afterAll(() => world.close());

const keep = <T>(log: string, work: (keeper: ArchiveKeeper) => Promise<T>): Promise<T> =>
  keepArchives(world.options, log, work);
const streamsOf = (runs: readonly SealedRun[]) => new Map(runs.map((run) => [run.runId, run.head]));
const record = (log: string, runs: readonly SealedRun[], at: number, digest = ARCHIVE) =>
  keep(log, (keeper) => keeper.record(digest, at, streamsOf(runs)));

async function read(log: string): Promise<StoredEntry[]> {
  const found: StoredEntry[] = [];
  for await (const one of world.store.readLog(log)) found.push(one);
  return found;
}

async function batchOf(log: string, runs: readonly SealedRun[]): Promise<Batch> {
  const entries = (await read(log)).filter(({ index }) =>
    runs.some((run) => index >= run.firstIndex && index < run.firstIndex + run.head.count),
  );
  return {
    entries,
    envelopes: runs.map(({ envelope: { digest, bytes }, firstIndex }) => ({
      digest,
      bytes: () => bytes,
      index: firstIndex,
    })),
  };
}

/** As somebody with the owner's role would: what it did is undone. */
async function asOwnerRole(sql: string): Promise<unknown> {
  await world.owner.query("begin; set local role sovereign_owner");
  try {
    return await world.owner.query(sql);
  } finally {
    await world.owner.query("rollback");
  }
}

async function rowsOf(log: string): Promise<unknown> {
  const found = await world.owner.query(
    "select to_jsonb(e) as row from sovereign.entries e where log_id = $1 union all select to_jsonb(v) from sovereign.envelopes v where log_id = $1 order by 1",
    [log],
  );
  return found.rows;
}

describe("the bytes of an entry that no archive holds", () => {
  it("are taken out by nobody: not by the owner, its role or its functions, nor by a tenant", async () => {
    const run = await commitSealedRun(world.store, "none");
    const before = await rowsOf("none");
    await expect(world.owner.query(TAKE)).rejects.toMatchObject(REFUSED);
    await expect(asOwnerRole(TAKE)).rejects.toMatchObject(REFUSED);
    const envelope = "update sovereign.envelopes set bytes = null, archived_index = 0";
    await expect(asOwnerRole(envelope)).rejects.toMatchObject(REFUSED);
    const batch = await batchOf("none", [run]);
    await expect(keep("none", (keeper) => keeper.takeOut(batch))).rejects.toMatchObject(REFUSED);
    const entries = { ...batch, envelopes: [] };
    await expect(keep("none", (keeper) => keeper.takeOut(entries))).rejects.toMatchObject(REFUSED);
    const hostile = await world.hostile();
    for (const sql of [
      TAKE,
      envelope,
      "select sovereign.take_out('none', array[0], array['x'], array[0])",
      "select sovereign.put_back('none', array[0], array['x'::bytea], null, null)",
      `select sovereign.record_archive('none', '${ARCHIVE}', 0, array['x'], array[1], array['x'::bytea])`,
      "insert into sovereign.archives values ('none', 'x', 0)",
      "insert into sovereign.archived_streams values ('none', 'x', 'x', 1, 'x')",
    ]) {
      await beginWith(hostile, world.claims, "tenant/none");
      await expect(hostile.query(sql), sql).rejects.toMatchObject(REFUSED);
      await hostile.query("rollback");
    }
    expect(await rowsOf("none")).toEqual(before);
  });
});

describe("an archive is not recorded", () => {
  const refused: [string, () => Promise<void>, object][] = [
    [
      "without an entry that says so",
      async () => {
        const run = await commitSealedRun(world.store, "unsaid");
        await recordOf(world.store, "unsaid", [run]);
        await record("unsaid", [run], 0);
      },
      REFUSED,
    ],
    [
      "where that entry is under no signed head",
      async () => {
        const run = await commitSealedRun(world.store, "unsigned");
        await record(
          "unsigned",
          [run],
          await recordOf(world.store, "unsigned", [run], { signed: false }),
        );
      },
      REFUSED,
    ],
    [
      "of another tenant",
      async () => {
        const run = await commitSealedRun(world.store, "foreign");
        const data = { tenant_id: "acme" };
        await record("foreign", [run], await recordOf(world.store, "foreign", [run], { data }));
      },
      REFUSED,
    ],
    [
      "of other runs than were said",
      async () => {
        const runs = [await commitSealedRun(world.store, "more")];
        const at = await recordOf(world.store, "more", runs);
        await record("more", [...runs, await commitSealedRun(world.store, "more")], at);
      },
      REFUSED,
    ],
    [
      "of a run that is not sealed",
      async () => {
        const run = await commitSealedRun(world.store, "open", { last: "run.suspended" });
        await record("open", [run], await recordOf(world.store, "open", [run]));
      },
      REFUSED,
    ],
    [
      "of a run that is at work",
      async () => {
        const run = await commitSealedRun(world.store, "busy", { status: "running" });
        await record("busy", [run], await recordOf(world.store, "busy", [run]));
      },
      { code: "ERR_ARCHIVE_REFUSED" },
    ],
    [
      "of a run that has grown",
      async () => {
        const run = await commitSealedRun(world.store, "grown");
        const { bytes, hash } = createEntry(run.head, fieldsOf(run.runId, "later"));
        const item = { log: "grown", stream: run.runId, expectedHead: run.head };
        await world.store.commit({ ...item, entries: [{ bytes, hash }] });
        await record("grown", [run], await recordOf(world.store, "grown", [run]));
      },
      { code: "ERR_ARCHIVE_REFUSED" },
    ],
    [
      "of a run that an incident is about",
      async () => {
        const run = await commitSealedRun(world.store, "incident");
        await world.owner.query(
          "insert into sovereign.incidents (log_id, incident_id, kind, subject, severity, state, summary, run_id, occurrences, raised_at, last_at) values ('incident', 'inc_' || repeat('0', 20), 'kill', 's', 'ERROR', 'acknowledged', 's', $1, 1, 'x', 'x')",
          [run.runId],
        );
        await record("incident", [run], await recordOf(world.store, "incident", [run]));
      },
      { code: "ERR_ARCHIVE_REFUSED" },
    ],
    [
      "of the installation's log",
      async () => {
        const data = { tenant_id: INSTALLATION_LOG };
        const run = await commitSealedRun(world.store, "installed");
        const at = await recordOf(world.store, "installed", [run], { data });
        await record(INSTALLATION_LOG, [run], at);
      },
      { code: "23514" },
    ],
    [
      "of a stream that is no run's",
      async () => {
        const run = { ...(await commitSealedRun(world.store, "people")), runId: "operations" };
        await record("people", [run], await recordOf(world.store, "people", [run]));
      },
      { code: "23514" },
    ],
  ];

  it.each(refused)("%s", async (_, attempt, error) => {
    await expect(attempt()).rejects.toMatchObject(error);
    // Each record that stands is one that another test made.
    const found = await world.owner.query("select log_id from sovereign.archives");
    expect(
      found.rows.filter(({ log_id }) => !["acme", "later"].includes(log_id as string)),
    ).toEqual([]);
  });

  it("nor grows after it was recorded", async () => {
    const run = await commitSealedRun(world.store, "later");
    await record("later", [run], await recordOf(world.store, "later", [run]));
    const more = await commitSealedRun(world.store, "later");
    const add = `insert into sovereign.archived_streams values ('later', '${more.runId}', '${ARCHIVE}', 2, '\\x${more.head.hash}')`;
    await expect(world.owner.query(add)).rejects.toMatchObject(REFUSED);
    for (const sql of [
      "update sovereign.archived_streams set count = 9",
      "delete from sovereign.archived_streams",
      "truncate sovereign.archived_streams",
      "delete from sovereign.archives",
    ]) {
      await expect(asOwnerRole(sql), sql).rejects.toMatchObject(REFUSED);
    }
  });
});

describe("a log of which entries are in an archive", () => {
  it("goes on: its streams, its heads, its proofs and its repair", async () => {
    const { store } = world;
    for (let at = 0; at < 130; at++) await commitSealedRun(store, "acme");
    const runs: SealedRun[] = [];
    for (let at = 0; at < 20; at++) {
      runs.push(await commitSealedRun(store, "acme"));
      await store.commit(itemFor(newStream(), "acme"));
    }
    const all = await read("acme");
    const before = await store.sealCheckpoint("acme", "origin/acme", testSigner);
    const indices = all.map(({ index }) => index).filter((index) => index % 3 !== 1);
    const proof = await store.proveInclusionSet("acme", before.size, indices);
    const rows = await rowsOf("acme");
    const batch = await batchOf("acme", runs);
    await record("acme", runs, await recordOf(store, "acme", runs));
    expect(await keep("acme", (keeper) => keeper.takeOut(batch))).toBe(40);
    // Taken out twice is taken out.
    expect(await keep("acme", (keeper) => keeper.takeOut(batch))).toBe(0);

    const [one] = runs as [SealedRun];
    const archived = {
      code: "ERR_ENTRY_ARCHIVED",
      message: expect.stringMatching(`${ARCHIVE}.*ledger restore FILE.*--archive FILE`) as string,
    };
    await expect(read("acme")).rejects.toMatchObject(archived);
    await expect(store.readEnvelopes("acme", [one.envelope.digest])).rejects.toMatchObject(
      archived,
    );
    expect(await store.streamHead("acme", one.runId)).toEqual(one.head);
    expect(await store.indexOf("acme", one.runId, 1)).toBe(one.firstIndex + 1);
    // The stream goes on, and does not begin again.
    expect(await store.commit(itemFor(one.runId, "acme"))).toMatchObject({
      reason: "stream_conflict",
    });

    for (let at = 0; at < 200; at++) await store.commit(itemFor(newStream(), "acme"));
    const after = await store.sealCheckpoint("acme", "origin/acme", testSigner);
    expect(after.size).toBe(before.size + 200);
    expect(await store.proveInclusionSet("acme", before.size, indices)).toEqual(proof);
    const { root } = parseCheckpointText(`${after.note.split("\n").slice(0, 3).join("\n")}\n`);
    const leaves = all.map(({ index, bytes }) => ({ index, hash: leafHash(bytes) }));
    const whole = await store.proveInclusionSet(
      "acme",
      after.size,
      leaves.map(({ index }) => index),
    );
    verifyInclusionSet(root, after.size, leaves, whole);

    const options = { ...world.options, acceptRollback: false };
    expect((await repairLedger(options)).filter(({ log }) => log === "acme")).toEqual([]);

    const wrong = {
      ...batch,
      entries: batch.entries.map((entry) => ({ ...entry, bytes: Buffer.from("x") })),
    };
    await expect(keep("acme", (keeper) => keeper.putBack(wrong))).rejects.toMatchObject(REFUSED);
    expect(await keep("acme", (keeper) => keeper.putBack(batch))).toBe(40);
    expect(await keep("acme", (keeper) => keeper.putBack(batch))).toBe(0);
    expect(await rowsOf("acme")).toEqual(expect.arrayContaining(rows as unknown[]));
    expect((await read("acme")).slice(0, all.length)).toEqual(all);
  });

  it("names what its record says of its runs", async () => {
    const runs = [
      await commitSealedRun(world.store, "named"),
      await commitSealedRun(world.store, "named"),
    ];
    await record("named", runs, await recordOf(world.store, "named", runs), ARCHIVE);
    const found = await world.owner.query(
      `select sovereign.streams_digest('named', '${ARCHIVE}') as digest`,
    );
    expect(found.rows).toEqual([{ digest: digestOfStreams(runs) }]);
  });
});

describe("a server that is given by URL, behind a pooler", () => {
  it("takes bytes out and back for the owner's role, which is no superuser", async () => {
    const pooled = await openPooledWorld(["acme"]);
    try {
      const run = await commitSealedRun(pooled.store, "acme");
      const at = await recordOf(pooled.store, "acme", [run]);
      const entries: StoredEntry[] = [];
      for await (const one of pooled.store.readLog("acme")) entries.push(one);
      const { digest, bytes } = run.envelope;
      const envelopes = [{ digest, index: run.firstIndex, bytes: () => bytes }];
      await expect(pooled.owner.query(TAKE)).rejects.toMatchObject(REFUSED);
      await keepArchives(pooled.options, "acme", async (keeper) => {
        await keeper.record(ARCHIVE, at, streamsOf([run]));
        expect(await keeper.takeOut({ entries, envelopes })).toBe(2);
        await expect(pooled.store.readLog("acme").next()).rejects.toMatchObject({
          code: "ERR_ENTRY_ARCHIVED",
        });
        expect(await pooled.store.archives("acme").recorded()).toMatchObject([{ inDatabase: 0 }]);
        expect(await keeper.putBack({ entries, envelopes })).toBe(2);
      });
      expect((await pooled.store.readLog("acme").next()).value).toEqual(entries[0]);
      const hostile = await pooled.hostile("acme");
      await expect(hostile.query(TAKE)).rejects.toMatchObject(REFUSED);
    } finally {
      await pooled.close();
    }
  });
});
