import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { canonicalize, parseCanonicalJson } from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EvidenceWorld } from "../../packages/runtime/test/support/evidence.ts";

let folder: string;
let lines: string[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-audit-"));
  const made = await EvidenceWorld.create();
  const other = await EvidenceWorld.create();
  lines = (made.store.logs.get("acme") ?? []).map(({ bytes, hash }, index) =>
    canonicalize({ index, hash, entry: parseCanonicalJson(bytes) }),
  );
  save("audit.jsonl", `${lines.join("\n")}\n`);
  save("short.jsonl", `${lines.slice(0, -1).join("\n")}\n`);
  save("edited.jsonl", `${lines.join("\n").replace("completed", "complexed")}\n`);
  save("checkpoint", (await made.bundle()).logs.tenant.checkpoint);
  save("foreign", (await other.bundle()).logs.tenant.checkpoint);
  save("malformed", "sovereign\n");
  writeFileSync(join(folder, "trust-root.json"), made.trustRoot());
  made.dispose();
  other.dispose();
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function save(name: string, text: string): void {
  writeFileSync(join(folder, name), text);
}

function audit(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  const bin = resolve("packages/verify/bin/sovereign-verify.js");
  return spawnSync(process.execPath, [bin, "audit", ...words], { cwd: folder, encoding: "utf8" });
}

const held = (checkpoint: string): string[] => [
  ...["--checkpoint", checkpoint],
  ...["--trust", "trust-root.json"],
];

describe("sovereign-verify audit", () => {
  it.each<[string, string[], number, RegExp]>([
    ["the whole log", ["audit.jsonl", ...held("checkpoint")], 0, /^VALID: \d+ entries/],
    ["no checkpoint", ["audit.jsonl"], 4, /^CONSISTENT: [^]*not checked: the end of the log/],
    ["a log that was cut", ["short.jsonl", ...held("checkpoint")], 4, /^INCOMPLETE: /],
    ["an edited log", ["edited.jsonl", ...held("checkpoint")], 4, /^INVALID: .*\n {2}line \d+: /],
    ["another's checkpoint", ["audit.jsonl", ...held("foreign")], 4, /^UNTRUSTED_KEY: /],
  ])("answers on %s", (_, words, status, out) => {
    const end = audit(...words);
    expect(end).toMatchObject({ status, stderr: "" });
    expect(end.stdout).toMatch(out);
  });

  it.each<[string, string[], RegExp]>([
    ["what is no checkpoint", ["audit.jsonl", ...held("malformed")], /ERR_NOTE_MALFORMED/],
    [
      "a checkpoint without a trust root",
      ["audit.jsonl", "--checkpoint", "checkpoint"],
      /ERR_USAGE/,
    ],
    ["no file", [], /ERR_USAGE/],
    ["a file that is not there", ["none.jsonl"], /ERR_FILE_UNREADABLE/],
    ["a folder", ["."], /ERR_FILE_UNREADABLE/],
    ["a report where none can be", ["audit.jsonl", "--output", "none/report.json"], /ERR_USAGE/],
  ])("refuses %s", (_, words, code) => {
    const end = audit(...words);
    expect(end).toMatchObject({ status: 2, stdout: "" });
    expect(end.stderr).toMatch(code);
    expect(end.stderr.split("\n")).toHaveLength(2);
  });

  it("writes its report as JSON", () => {
    const end = audit("audit.jsonl", ...held("checkpoint"), "--json", "--output", "report.json");
    expect(end.status).toBe(0);
    const report = JSON.parse(end.stdout) as Record<string, unknown>;
    expect(report).toMatchObject({ verdict: "VALID", entries: lines.length });
    expect(JSON.parse(readFileSync(join(folder, "report.json"), "utf8"))).toEqual(report);
  });
});
