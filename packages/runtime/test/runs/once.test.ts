import { type Action, digestOf } from "@sovereign/core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { exportBundle, readEntries } from "../../src/runs/index.ts";
import { EvidenceWorld, INSTALLATION, RUN } from "../support/evidence.ts";

/** A string that only the platform's writer can write: whoever counts its calls sees each writing. */
const MARK = 'a "mark"';
/** An envelope's payload is longer than any other string of a run. */
const PAYLOAD_CHARS = 500;

let made: EvidenceWorld | null = null;
afterEach(() => {
  vi.restoreAllMocks();
  made?.dispose();
  made = null;
});

/** How often strings were written in canonical form while one step was done. */
async function writingsOfOneStep(action: Action): Promise<string[]> {
  let written: string[] = [];
  made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, world) => {
    const usage = { wall_ms: 1, output_bytes: 0 };
    world.result = { status: "completed", output: { said: MARK }, artifacts: [], usage };
    const spy = vi.spyOn(JSON, "stringify");
    await session.perform({ stepId: "marked", role: "trainer", action });
    written = spy.mock.calls.map(([value]) => String(value));
    spy.mockRestore();
  });
  return written;
}

describe("one step, from the session to the ledger", () => {
  it("has its action written once, by whoever asks first", async () => {
    const text = `${MARK} of the action`;
    const written = await writingsOfOneStep({
      type: "model.train",
      resource: "m",
      params: { text },
    });
    expect(written.filter((one) => one === text)).toHaveLength(1);
  });

  it("has each of its two envelopes written once", async () => {
    const written = await writingsOfOneStep({ type: "model.train", resource: "m", params: {} });
    const payloads = written.filter((one) => one.length > PAYLOAD_CHARS);
    expect(payloads).toHaveLength(2);
    expect(new Set(payloads).size).toBe(2);
  });

  it("has its output written once", async () => {
    const written = await writingsOfOneStep({ type: "model.train", resource: "m", params: {} });
    expect(written.filter((one) => one === MARK)).toHaveLength(1);
  });

  it("has its action read once, and not as it is later", async () => {
    let reads = 0;
    const params = Object.defineProperty({}, "trees", {
      enumerable: true,
      get: () => (reads += 1),
    }) as Action["params"];
    await writingsOfOneStep({ type: "model.train", resource: "m", params });
    expect(reads).toBe(1);
    const entries = made?.store.logs.get("acme")?.map(({ bytes }) => Buffer.from(bytes).toString());
    const named = digestOf({ type: "model.train", resource: "m", params: { trees: 1 } });
    expect(entries?.some((text) => text.includes(`"action_digest":"${named}"`))).toBe(true);
  });
});

describe("a run's stream", () => {
  it("is read once at its end, for the seal and for the bundle", async () => {
    const read: number[] = [];
    made = await EvidenceWorld.create("sovereign", RUN, 3, (_session, _world, store) => {
      const readStream = store.readStream.bind(store);
      store.readStream = async function* (log, stream, from) {
        for await (const one of readStream(log, stream, from)) {
          if (stream === RUN) read.push(one.index);
          yield one;
        }
      };
      return Promise.resolve();
    });
    const { store, sealed } = made;
    const entries = await readEntries(store, "acme", RUN, sealed);
    const place = { ledger: store, installationId: INSTALLATION, tenantId: "acme", runId: RUN };
    const bytes = await exportBundle({ ...place, readArtifact: null, entries });
    expect(read).toEqual(entries.map(({ index }) => index));
    expect(new Set(read).size).toBe(read.length);
    // What was read before makes the same evidence as what is read for it.
    expect(Buffer.from(bytes)).toEqual(
      Buffer.from(await exportBundle({ ...place, readArtifact: null })),
    );
  });

  it("is checked wherever it was read", async () => {
    made = await EvidenceWorld.create();
    const [first, ...rest] = made.sealed;
    const changed = { ...first!, bytes: Buffer.from(rest[0]!.bytes) };
    await expect(readEntries(made.store, "acme", RUN, [changed, ...rest])).rejects.toMatchObject({
      code: "ERR_LEDGER_CORRUPT",
    });
  });
});
