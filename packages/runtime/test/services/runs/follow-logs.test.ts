import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8Encode } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Installation } from "../../../src/installation/index.ts";
import { EMPTY_STREAM, StreamWriter } from "../../../src/ledger/index.ts";
import { ArtifactStore, type RunRow } from "../../../src/runs/index.ts";
import { followRunLogs, type RunLog } from "../../../src/services/runs/run-log.ts";
import { RUN } from "../../support/evidence.ts";
import { MemoryStore } from "../../support/memory-store.ts";

const ASKED = { tenantId: "acme", runId: RUN, step: null };

let folder: string;
let store: MemoryStore;
let writer: StreamWriter;
let artifacts: ArtifactStore;
let status: string;
/** What happens before each look at the run, in turn. */
let looks: (() => Promise<void>)[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-follow-"));
  store = new MemoryStore();
  writer = new StreamWriter(store, "acme", RUN, EMPTY_STREAM);
  artifacts = new ArtifactStore(folder);
  status = "running";
  looks = [];
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const nothing = (): Promise<void> => Promise.resolve();

/** A command ends, and its end is recorded with what it said. */
async function say(step: string, text: string): Promise<void> {
  const name = `03_executor/logs/${step}.log`;
  const ref = await artifacts.put(name, utf8Encode(text), "text/plain");
  const about = { tenantId: "acme", runId: RUN, timestamp: "2026-01-01T00:00:00.000Z" };
  const data = { artifacts: [ref] };
  await writer.append({ ...about, eventType: "evidence.recorded", severity: "INFO", data });
}

async function follow(signal = new AbortController().signal): Promise<string[]> {
  const told: string[] = [];
  let asked = 0;
  const installation = {
    store: Object.assign(store, {
      findRun: async () => {
        // Each look asks twice: whether the run goes on, and where its files lie.
        if (asked++ % 2 === 0) await looks.shift()?.();
        return { runId: RUN, kind: "exec_request", status } as RunRow;
      },
    }),
    folder: { run: () => folder },
  } as unknown as Installation;
  const tell = ({ step, bytes }: RunLog): void => {
    told.push(`${step}: ${Buffer.from(bytes).toString()}`);
  };
  await followRunLogs(installation, ASKED, signal, tell, 1);
  return told;
}

describe("following what the commands of a run say", () => {
  it("tells each once, as it is recorded, until the run has ended", async () => {
    looks = [
      nothing,
      () => say("step_01.build", "built"),
      nothing,
      async () => {
        await say("step_02.test", "tested");
        status = "completed";
      },
      () => Promise.reject(new Error("it goes on after the end")),
    ];
    expect(await follow()).toEqual(["step_01.build: built", "step_02.test: tested"]);
  });

  it("ends where it is cancelled, with what there is", async () => {
    await say("step_01.build", "built");
    const controller = new AbortController();
    looks = [
      nothing,
      () => {
        controller.abort();
        return Promise.resolve();
      },
    ];
    expect(await follow(controller.signal)).toEqual(["step_01.build: built"]);
  });

  it("says so where the run has ended without a word", async () => {
    status = "failed";
    await expect(follow()).rejects.toMatchObject({ code: "ERR_LOG_NOT_FOUND" });
  });
});
