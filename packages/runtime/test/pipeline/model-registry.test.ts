import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf, type ErrorCode, isSovereignError, sha256Hex, utf8Encode } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, systemEntropy } from "../../src/system/index.ts";
import { createModelRegistry, type ModelRegistry } from "../../src/pipeline/index.ts";

const RUN = "run_aaaaaaaaaaaaaaaaaaaa";
const OTHER_RUN = "run_bbbbbbbbbbbbbbbbbbbb";
const one = utf8Encode("first model");
const two = utf8Encode("second model");

let folder = "";
let now = new Date("2026-01-31T12:00:00.000Z");
let registry: ModelRegistry;
const clock: Clock = { now: () => now, monotonicMs: () => 0 };

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "registry-"));
  now = new Date("2026-01-31T12:00:00.000Z");
  registry = createModelRegistry({ folder, clock, entropy: systemEntropy });
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function promote(bytes: Uint8Array, expectedCurrent: string | null, key: string, runId = RUN) {
  const digest = sha256Hex(bytes);
  return registry.promote({
    model: "m",
    digest,
    bytes,
    expectedCurrent,
    runId,
    idempotencyKey: key,
  });
}

function rollback(bytes: Uint8Array, expectedCurrent: string, key: string) {
  const toDigest = sha256Hex(bytes);
  return registry.rollback({
    model: "m",
    toDigest,
    expectedCurrent,
    runId: OTHER_RUN,
    idempotencyKey: key,
  });
}

async function codeOf(work: Promise<unknown>): Promise<ErrorCode> {
  try {
    await work;
  } catch (error) {
    if (isSovereignError(error)) return error.code;
    throw error;
  }
  throw new Error("expected a refusal");
}

function blobPath(bytes: Uint8Array): string {
  const digest = sha256Hex(bytes);
  return join(folder, "blobs", "sha256", digest.slice(0, 2), digest);
}

describe("the model registry", () => {
  it("promotes, promotes again and rolls back to the earlier bytes", async () => {
    const first = await promote(one, null, "a");
    expect(first).toMatchObject({ version: 1, kind: "promotion", before: null, bytes: one.length });
    now = new Date("2026-01-31T13:00:00.000Z");
    await promote(two, first.digest, "b");
    const proof = await rollback(one, sha256Hex(two), "c");
    expect(proof).toEqual({
      run_id: OTHER_RUN,
      model: "m",
      before: sha256Hex(two),
      after: sha256Hex(one),
      restored_digest: sha256Hex(one),
      restored_bytes: one.length,
      promoted_by_run: RUN,
      promoted_at: "2026-01-31T12:00:00.000Z",
      proved_at: "2026-01-31T13:00:00.000Z",
    });
    expect((await registry.current("m"))?.digest).toBe(sha256Hex(one));
    expect((await registry.history("m")).map((record) => record.kind)).toEqual([
      "promotion",
      "promotion",
      "rollback",
    ]);
    expect(await registry.read(sha256Hex(two))).toEqual(Buffer.from(two));
  });

  it("knows no model at first", async () => {
    expect(await registry.current("m")).toBeNull();
    expect(await registry.history("m")).toEqual([]);
    expect(await codeOf(registry.read(sha256Hex(one)))).toBe("ERR_REGISTRY_UNKNOWN");
  });

  it("does a switch once, however often it is asked for", async () => {
    const first = await promote(one, null, "a");
    expect(await promote(one, null, "a")).toEqual(first);
    await promote(two, first.digest, "b");
    const proof = await rollback(one, sha256Hex(two), "c");
    expect(await rollback(one, sha256Hex(two), "c")).toEqual(proof);
    expect(await registry.history("m")).toHaveLength(3);
  });

  it("refuses a key that was used for something else", async () => {
    await promote(one, null, "a");
    expect(await codeOf(promote(two, sha256Hex(one), "a"))).toBe("ERR_REGISTRY_CONFLICT");
  });

  it("refuses a switch that believes something else to be current", async () => {
    await promote(one, null, "a");
    expect(await codeOf(promote(two, null, "b"))).toBe("ERR_REGISTRY_CONFLICT");
    expect(await codeOf(promote(two, sha256Hex(two), "b"))).toBe("ERR_REGISTRY_CONFLICT");
    expect(await codeOf(rollback(one, sha256Hex(two), "c"))).toBe("ERR_REGISTRY_CONFLICT");
    expect(await codeOf(rollback(one, sha256Hex(one), "c"))).toBe("ERR_REGISTRY_CONFLICT");
    expect(await registry.history("m")).toHaveLength(1);
  });

  it("lets one of many at once win", async () => {
    const attempts = Array.from({ length: 8 }, (_, index) =>
      promote(utf8Encode(`model ${index}`), null, `key ${index}`).then(
        () => "won",
        (error: unknown) => (isSovereignError(error) ? error.code : "?"),
      ),
    );
    const results = await Promise.all(attempts);
    expect(results.filter((result) => result === "won")).toHaveLength(1);
    expect(results.filter((result) => result === "ERR_REGISTRY_CONFLICT")).toHaveLength(7);
    expect(await registry.history("m")).toHaveLength(1);
  });

  it("gives attempts of one step at once the same record", async () => {
    const records = await Promise.all(Array.from({ length: 6 }, () => promote(one, null, "a")));
    expect(new Set(records.map((record) => digestOf(record))).size).toBe(1);
    expect(await registry.history("m")).toHaveLength(1);
  });

  it("refuses bytes that are not what was said", async () => {
    const request = { model: "m", runId: RUN, idempotencyKey: "a", expectedCurrent: null };
    const wrong = registry.promote({ ...request, bytes: one, digest: sha256Hex(two) });
    expect(await codeOf(wrong)).toBe("ERR_REGISTRY_DIGEST");
    expect(await registry.current("m")).toBeNull();
  });

  it("rolls back only to what was promoted", async () => {
    await promote(one, null, "a");
    expect(await codeOf(rollback(two, sha256Hex(one), "b"))).toBe("ERR_REGISTRY_UNKNOWN");
  });

  it.each(["../m", "", "M", "a/b", "."])("refuses the model name %j", async (model) => {
    expect(await codeOf(registry.current(model))).toBe("ERR_REGISTRY_UNKNOWN");
    expect(existsSync(join(folder, "..", "m"))).toBe(false);
  });

  it("keeps its files to its owner", async () => {
    await promote(one, null, "a");
    expect(statSync(blobPath(one)).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, "models", "m")).mode & 0o777).toBe(0o700);
    expect(readdirSync(join(folder, "temporary"))).toEqual([]);
  });
});

describe("a registry that was tampered with", () => {
  const record = (): string => join(folder, "models", "m", "000000001.json");
  const damage: [string, () => void][] = [
    [
      "an edited record",
      () => {
        writeFileSync(record(), readFileSync(record(), "utf8").replace("ion", "ior"));
      },
    ],
    [
      "a reformatted record",
      () => {
        writeFileSync(record(), `${readFileSync(record(), "utf8")}\n`);
      },
    ],
    [
      "an empty record",
      () => {
        writeFileSync(record(), "");
      },
    ],
    [
      "a missing record",
      () => {
        rmSync(record());
      },
    ],
    [
      "a stray file",
      () => {
        writeFileSync(join(folder, "models", "m", "x"), "");
      },
    ],
    [
      "a record of another model",
      () => {
        mkdirSync(join(folder, "models", "n"));
        renameSync(join(folder, "models", "m"), join(folder, "models", "gone"));
        renameSync(join(folder, "models", "n"), join(folder, "models", "m"));
        const stolen = readFileSync(join(folder, "models", "gone", "000000001.json"), "utf8");
        writeFileSync(record(), stolen.replace('"model":"m"', '"model":"n"'));
      },
    ],
    [
      "a link instead of a record",
      () => {
        renameSync(record(), `${folder}/moved`);
        symlinkSync(`${folder}/moved`, record());
      },
    ],
  ];

  it.each(damage)("is refused for %s", async (_name, breakIt) => {
    await promote(one, null, "a");
    await promote(two, sha256Hex(one), "b");
    breakIt();
    expect(await codeOf(registry.current("m"))).toBe("ERR_REGISTRY_CORRUPT");
    expect(await codeOf(rollback(one, sha256Hex(two), "c"))).toBe("ERR_REGISTRY_CORRUPT");
  });

  it("does not roll back to changed bytes, and leaves the current model", async () => {
    await promote(one, null, "a");
    await promote(two, sha256Hex(one), "b");
    writeFileSync(blobPath(one), "first modeL");
    expect(await codeOf(rollback(one, sha256Hex(two), "c"))).toBe("ERR_REGISTRY_CORRUPT");
    expect((await registry.current("m"))?.digest).toBe(sha256Hex(two));
  });

  it("heals damaged bytes when the right ones are promoted again", async () => {
    await promote(one, null, "a");
    writeFileSync(blobPath(one), "damaged");
    await promote(one, sha256Hex(one), "b");
    expect(await registry.read(sha256Hex(one))).toEqual(Buffer.from(one));
  });

  it("follows no link to bytes elsewhere", async () => {
    await promote(one, null, "a");
    renameSync(blobPath(one), join(folder, "elsewhere"));
    symlinkSync(join(folder, "elsewhere"), blobPath(one));
    expect(await codeOf(registry.read(sha256Hex(one)))).toBe("ERR_REGISTRY_CORRUPT");
  });
});

describe("a registry whose folder does not work", () => {
  it("acknowledges nothing, and works again when the folder does", async () => {
    // A file where a folder is wanted: fails for root too, whom permissions do not stop.
    writeFileSync(join(folder, "temporary"), "");
    expect(await codeOf(promote(one, null, "a"))).toBe("ERR_REGISTRY_UNAVAILABLE");
    rmSync(join(folder, "temporary"));
    expect(await registry.current("m")).toBeNull();
    expect((await promote(one, null, "a")).version).toBe(1);
  });

  it("removes what killed processes left, but not what is young", async () => {
    mkdirSync(join(folder, "temporary"));
    for (const name of ["old", "young"]) writeFileSync(join(folder, "temporary", name), "");
    const hoursAgo = (hours: number): number => now.getTime() / 1000 - hours * 3600;
    utimesSync(join(folder, "temporary", "old"), hoursAgo(2), hoursAgo(2));
    utimesSync(join(folder, "temporary", "young"), hoursAgo(0.5), hoursAgo(0.5));
    await promote(one, null, "a");
    expect(readdirSync(join(folder, "temporary"))).toEqual(["young"]);
  });
});
