import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { ArtifactRef } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RunTape } from "../../src/executor/run-tape.ts";
import { ArtifactStore, readHarvest } from "../../src/runs/index.ts";
import { systemClock } from "../../src/system/index.ts";
import { closeSockets, contentOf, RUBBISH } from "../support/rubbish.ts";

const BYTES = Buffer.from("what the step made\n");
/** These hold what was there before. */
const KEPT = /others may read|later version|another user/;
const ODD = RUBBISH.filter(({ name }) => !KEPT.test(name));

let folder: string;
let store: ArtifactStore;
let ref: ArtifactRef;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-odd-"));
  store = new ArtifactStore(join(folder, "artifacts"));
  ref = await store.put("logs/step_01.log", BYTES, "text/plain");
});
afterEach(() => {
  closeSockets();
  rmSync(folder, { recursive: true, force: true });
});

async function spoil(path: string, make: (typeof RUBBISH)[number]["make"]): Promise<void> {
  const before = contentOf(path);
  rmSync(path, { recursive: true, force: true });
  await make(path, before);
}

describe("a name that leads out of a run's folder", () => {
  it.each(["../a", "logs/../../a", "/a", "", ".", "..", "a\0b", "logs/..", `a${"/b".repeat(200)}`])(
    "is no artifact's: %j",
    async (name) => {
      const around = readdirSync(folder);
      const code = { code: "ERR_ARTIFACT_CHANGED" };
      await expect(store.get({ ...ref, name })).rejects.toMatchObject(code);
      await expect(store.put(name, BYTES, "text/plain")).rejects.toMatchObject(code);
      expect(readdirSync(folder)).toEqual(around);
    },
  );
});

describe.each(ODD)("$name in a run's folder", ({ make, name }) => {
  it("is no artifact, keeps nobody waiting, and is replaced by a repeat of its step", async () => {
    const path = store.pathOf(ref);
    await spoil(path, make);
    const read = store.get(ref);
    await expect(read).rejects.toMatchObject({ code: "ERR_ARTIFACT_CHANGED" });
    await expect(read).rejects.toThrow(/^[^\n]*$/);
    await make(`${path}.partial`, null);
    const again = await store.put(ref.name, BYTES, "text/plain");
    expect(again.sha256).toBe(createHash("sha256").update(BYTES).digest("hex"));
    await expect(store.get(ref)).resolves.toEqual(BYTES);
  });

  it("is named where it stands in the place of a folder of artifacts", async () => {
    const path = dirname(store.pathOf(ref));
    await spoil(path, make);
    const put = store.put(ref.name, BYTES, "text/plain");
    if (name === "a folder") await expect(put).resolves.toMatchObject({ name: ref.name });
    else await expect(put).rejects.toMatchObject({ code: "ERR_DATA_FOLDER" });
  });

  it("is no output of a program", async () => {
    const path = join(folder, "output");
    await make(path, null);
    if (/^(?:an empty file|half a file|bytes)$/.test(name)) return;
    await expect(readHarvest(path)).rejects.toMatchObject({ code: "ERR_OUTPUT_REFUSED" });
  });

  it("takes no line of the tape", async () => {
    const path = join(folder, "audit/run_tape.jsonl");
    mkdirSync(dirname(path));
    const tape = new RunTape(path, "run_1", systemClock);
    tape.add("RUN_STARTED" as never, null);
    await spoil(path, make);
    if (/^(?:an empty file|half a file|bytes|a huge file)$/.test(name)) return;
    const refused = expect.objectContaining({ code: "ERR_DATA_FOLDER" }) as unknown;
    expect(() => {
      tape.add("RUN_STARTED" as never, null);
    }).toThrow(refused);
  });
});
