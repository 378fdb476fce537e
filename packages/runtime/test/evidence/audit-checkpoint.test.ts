import {
  base64Encode,
  canonicalBytes,
  canonicalize,
  emptyRoot,
  type JsonValue,
  parseCanonicalJson,
  parseCheckpointText,
  sha256Hex,
  signCheckpoint,
  signNote,
  type TrustRoot,
  utf8Encode,
} from "@sovereign/core";
import { type AuditReport, parseTrustRoot, verifyAudit } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EvidenceWorld, RUN } from "../support/evidence.ts";

const ORIGIN = `sovereign/ins_${"a".repeat(20)}/tenant/acme`;

let made: EvidenceWorld;
let trust: TrustRoot;
let note: string;
let lines: string[];
beforeAll(async () => {
  made = await EvidenceWorld.create();
  trust = parseTrustRoot(made.trustRoot());
  note = await noteOf(made);
  lines = linesOf(made);
});
afterAll(() => {
  made.dispose();
});

async function noteOf(world: EvidenceWorld): Promise<string> {
  return (await world.bundle()).logs.tenant.checkpoint;
}

/** The tenant's log as `audit export` writes it. */
function linesOf(world: EvidenceWorld): string[] {
  return (world.store.logs.get("acme") ?? []).map(({ bytes, hash }, index) =>
    canonicalize({ index, hash, entry: parseCanonicalJson(bytes) }),
  );
}

function audit(
  file: readonly string[],
  checkpoint: { note: string; trust: TrustRoot } | null,
  chunkBytes = 1000,
): Promise<AuditReport> {
  const bytes = utf8Encode(file.map((line) => `${line}\n`).join(""));
  return verifyAudit(chunksOf(bytes, chunkBytes), { checkpoint });
}

async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    yield await Promise.resolve(bytes.subarray(at, at + size));
  }
}

describe("a log with its checkpoint", () => {
  it("is VALID, however its bytes arrive", async () => {
    for (const chunkBytes of [1, 7, 1000, 10_000_000]) {
      const report = await audit(lines, { note, trust }, chunkBytes);
      expect(report).toMatchObject({
        verdict: "VALID",
        entries: lines.length,
        checkpoint_size: lines.length,
        first_failure: null,
      });
      expect(report.not_checked).toHaveLength(1);
      const { root } = parseCheckpointText(note.slice(0, note.indexOf("\n\n") + 1));
      expect(report.root).toBe(Buffer.from(root).toString("hex"));
    }
  });

  it("is CONSISTENT without one, never VALID, and says what that leaves open", async () => {
    const report = await audit(lines, null);
    expect(report).toMatchObject({ verdict: "CONSISTENT", checkpoint_size: null });
    expect(report.not_checked[0]).toMatch(/end of the log/);
  });

  it("is VALID with an older one, and says which entries that does not cover", async () => {
    const signer = await made.world.authority.signer("checkpoint", null);
    for (const size of [0, 1, 5, lines.length - 1]) {
      const part = size === 0 ? null : await audit(lines.slice(0, size), null);
      const root = part === null ? emptyRoot() : new Uint8Array(Buffer.from(part.root!, "hex"));
      const older = signCheckpoint({ origin: ORIGIN, size, root }, signer);
      const report = await audit(lines, { note: older, trust });
      expect(report).toMatchObject({ verdict: "VALID", checkpoint_size: size });
      expect(report.not_checked[0]).toContain(`the last ${lines.length - size} entries`);
    }
  });

  it("is INCOMPLETE when it ends before its checkpoint, or begins after its start", async () => {
    for (const part of [lines.slice(0, -1), [], lines.slice(1)]) {
      const report = await audit(part, { note, trust });
      // What begins later also breaks the chain of its first stream.
      const chained = part.length === lines.length - 1 && part[0] !== lines[0];
      expect(report.verdict).toBe(chained ? "INVALID" : "INCOMPLETE");
      expect(report.first_failure?.place).toBe(chained ? "line 1" : "checkpoint");
    }
  });

  it("is INVALID when it is another history of the same length, however well it is chained", async () => {
    const other = await EvidenceWorld.create();
    const rewritten = linesOf(other);
    other.dispose();
    expect(rewritten).toHaveLength(lines.length);
    expect((await audit(rewritten, null)).verdict).toBe("CONSISTENT");
    expect(await audit(rewritten, { note, trust })).toMatchObject({
      verdict: "INVALID",
      first_failure: { place: "checkpoint", code: "ERR_VERIFY_INVALID" },
    });
  });
});

describe("a file without a checkpoint", () => {
  it("is refused when it is empty: there is nothing to judge", async () => {
    await expect(audit([], null)).rejects.toMatchObject({ code: "ERR_AUDIT_MALFORMED" });
  });

  it("is INCOMPLETE when it is a part of a log", async () => {
    const other = linesOf(made).filter((line) => line.includes(`"stream":"${RUN}"`));
    expect(other[0]).toContain('"sequence":0');
    expect(await audit(other, null)).toMatchObject({
      verdict: "INCOMPLETE",
      first_failure: { place: "checkpoint", code: "ERR_VERIFY_INCOMPLETE" },
      root: null,
    });
  });
});

describe("a checkpoint", () => {
  it("of another key is UNTRUSTED_KEY, also when it names our log", async () => {
    const other = await EvidenceWorld.create();
    const foreign = await noteOf(other);
    other.dispose();
    expect(await audit(lines, { note: foreign, trust })).toMatchObject({
      verdict: "UNTRUSTED_KEY",
      first_failure: { place: "checkpoint", code: "ERR_VERIFY_UNTRUSTED" },
      root: null,
      not_checked: [expect.stringMatching(/refused first/), expect.anything()],
    });
  });

  it("of one of our keys for another purpose is UNTRUSTED_KEY", async () => {
    const signer = await made.world.authority.signer("seal", null);
    const { size, root } = parseCheckpointText(note.slice(0, note.indexOf("\n\n") + 1));
    const misused = signCheckpoint({ origin: ORIGIN, size, root }, signer);
    expect((await audit(lines, { note: misused, trust })).verdict).toBe("UNTRUSTED_KEY");
  });

  it("of a key that is distrusted by now is UNTRUSTED_KEY", async () => {
    const keys = trust.keys.map((key) => ({
      ...key,
      distrust_all: key.distrust_all || key.purpose === "checkpoint",
    }));
    const report = await audit(lines, { note, trust: { ...trust, keys } });
    expect(report.verdict).toBe("UNTRUSTED_KEY");
  });

  it("that was edited is INVALID", async () => {
    const edited = note.replace(`\n${lines.length}\n`, `\n${lines.length - 1}\n`);
    expect(edited).not.toBe(note);
    expect(await audit(lines, { note: edited, trust })).toMatchObject({
      verdict: "INVALID",
      first_failure: { place: "checkpoint", code: "ERR_NOTE_SIGNATURE" },
    });
  });

  it("of another log of ours is INVALID", async () => {
    const { logs } = await made.bundle();
    const report = await audit(lines, { note: logs.installation.checkpoint, trust });
    expect(report.verdict).toMatch(/^IN/);
    expect(report.first_failure?.place).toBe("checkpoint");
  });

  it("of another installation is INVALID", async () => {
    const other = note.replace(/ins_a{20}/g, `ins_${"b".repeat(20)}`);
    expect(await audit(lines, { note: other, trust })).toMatchObject({
      verdict: "INVALID",
      first_failure: { place: "checkpoint", code: "ERR_VERIFY_INVALID" },
    });
  });

  it.each([
    ["nothing", () => ""],
    ["no signature", () => `${ORIGIN}\n1\n${base64Encode(new Uint8Array(32))}\n`],
    ["a signature that is no base64", () => note.replace(/\S+\n$/, "!!!\n")],
    ["Windows line ends", () => note.replaceAll("\n", "\r\n")],
  ])("that is none at all throws: %s", async (_, spoil) => {
    const told = audit(lines, { note: spoil(), trust });
    await expect(told).rejects.toMatchObject({ code: "ERR_NOTE_MALFORMED" });
  });

  it("whose signed text is no tree head throws", async () => {
    const signer = await made.world.authority.signer("checkpoint", null);
    const noHead = signNote(`${ORIGIN}\nmany\nroot\n`, ORIGIN, signer);
    await expect(audit(lines, { note: noHead, trust })).rejects.toMatchObject({
      code: "ERR_CHECKPOINT_MALFORMED",
    });
  });
});

describe("the lines", () => {
  it("end at LF alone: an entry may hold any other separator", async () => {
    const separators = "\u2028 \u2029 \u0085 \r";
    const world = await EvidenceWorld.create();
    const row = world.store.logs.get("acme")!.at(-1)!;
    const entry = parseCanonicalJson(row.bytes) as { data: JsonValue } & Record<string, JsonValue>;
    entry.data = { text: separators };
    const bytes = canonicalBytes(entry);
    Object.assign(row, { bytes, hash: sha256Hex(bytes) });
    expect(await audit(linesOf(world), null)).toMatchObject({ verdict: "CONSISTENT" });
    world.dispose();
  });

  it.each<[string, (file: string[]) => string[]]>([
    ["an empty one", (file) => file.toSpliced(3, 0, "")],
    ["one that is no entry", (file) => file.toSpliced(3, 1, "{}")],
    ["one twice", (file) => file.toSpliced(3, 0, file[2]!)],
    ["two swapped", (file) => file.with(3, file[4]!).with(4, file[3]!)],
    ["one left out", (file) => file.toSpliced(3, 1)],
    ["one with a space more", (file) => file.with(3, `${file[3]!} `)],
    ["one with a byte changed", (file) => file.with(3, file[3]!.replace("acme", "acne"))],
    ["one that never ends", (file) => file.with(3, "[".repeat(200_000))],
  ])("with %s are INVALID, at that line", async (_, spoil) => {
    const report = await audit(spoil([...lines]), null);
    expect(report.verdict).toBe("INVALID");
    expect(report.first_failure?.place).toMatch(/^line [45]$/);
  });
});
