import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  canonicalBytes,
  digestOf,
  type JsonObject,
  type JsonValue,
  judgeRelease,
  predicateType,
  STATEMENT_TYPE,
} from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verifyReleaseReceipt } from "../../verify/src/release-receipt.ts";
import { badRefusals, type Door } from "../../verify/test/support/bad-documents.ts";
import { isSwitchOpen } from "../src/executor/index.ts";
import { HeadFile } from "../src/store/head-file.ts";

const JSON_CODES = ["MALFORMED", "TOO_DEEP", "DUPLICATE_KEY", "NOT_CANONICAL", "TOO_LARGE"].map(
  (one) => `ERR_JSON_${one}`,
);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-bad-own-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function headDoor(): Door {
  const file = new HeadFile(folder, "acme");
  file.write({ size: 3, root: "0".repeat(64) });
  return {
    name: "the last signed head",
    genuine: JSON.parse(readFileSync(file.path, "utf8")) as JsonValue,
    form: "json",
    read: (bytes) => {
      writeFileSync(file.path, bytes);
      file.read();
    },
    codes: ["ERR_LEDGER_ROLLED_BACK"],
  };
}

const absent = { kind: "absent", sha256: null };
const MOVE = {
  state: "applying",
  root: "/home/user/repo",
  ref: "refs/heads/main",
  from: "1".repeat(40),
  to: "2".repeat(40),
  paths: [{ path: "a", before: absent, after: { kind: "file", sha256: "3".repeat(64) } }],
  folders: ["b"],
  kept: [{ path: "a", kept: "/kept" }],
};

function switchDoor(): Door {
  return {
    name: "the journal of a move in the user's repository",
    genuine: MOVE,
    form: "json",
    read: (bytes) => {
      writeFileSync(join(folder, "journal.json"), bytes);
      isSwitchOpen(folder);
    },
    codes: [...JSON_CODES, "ERR_FORMAT_INVALID"],
  };
}

/** A source of its own; what a receipt says of it is found again. */
const SOURCES = new Map([["packages/x/src/a.ts", Buffer.from("export const a = 1;\n")]]);

function receiptDoor(): Door {
  const { status, results, inputs } = judgeRelease(SOURCES);
  const evaluated_at = "2026-01-01T00:00:00.000Z";
  const predicate = { release: "1.0.0", commit: null, status, results, inputs, evaluated_at };
  return {
    name: "a release's receipt",
    genuine: {
      _type: STATEMENT_TYPE,
      subject: [{ name: "1.0.0", digest: { sha256: digestOf(inputs) } }],
      predicateType: predicateType("release-receipt"),
      predicate: predicate as unknown as JsonObject,
    },
    form: "json",
    read: (bytes) => verifyReleaseReceipt(bytes, SOURCES, null),
    codes: [...JSON_CODES, "ERR_STATEMENT_MALFORMED", "ERR_ENVELOPE_MALFORMED"],
  };
}

describe("a file that is bad in one way", { timeout: 120_000 }, () => {
  it.each<[string, () => Door]>([
    ["the last signed head", headDoor],
    ["the journal of a move", switchDoor],
    ["a release's receipt", receiptDoor],
  ])("is refused with its place: %s", async (_name, make) => {
    const door = make();
    await door.read(canonicalBytes(door.genuine));
    const { cases, problems } = await badRefusals(door);
    expect(problems.slice(0, 20)).toEqual([]);
    expect(cases).toBeGreaterThan(60);
  });
});

describe("the journal of a move that leads elsewhere", () => {
  it.each([
    ["../victim", "paths"],
    ["/etc/victim", "paths"],
    ["a/../../victim", "paths"],
    [".git/hooks/pre-commit", "paths"],
    [".GIT/config", "paths"],
    ["../victim", "folders"],
    ["--upload-pack=x", "ref"],
    ["--upload-pack=x", "from"],
  ])("is refused before anything is moved: %s as %s", (value, field) => {
    const [move] = MOVE.paths;
    const changed = { paths: [{ ...move, path: value }], folders: [value] }[field] ?? value;
    writeFileSync(join(folder, "journal.json"), JSON.stringify({ ...MOVE, [field]: changed }));
    expect(() => isSwitchOpen(folder)).toThrow(
      expect.objectContaining({ code: "ERR_FORMAT_INVALID" }),
    );
  });
});
