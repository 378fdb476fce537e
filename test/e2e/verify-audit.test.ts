import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { canonicalize, type JsonValue, parseCanonicalJson } from "@sovereign/core";
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
  save("empty.jsonl", "");
  execFileSync("mkfifo", [join(folder, "fifo")]);
  for (const [name, megabytes] of [
    ["sparse.json", 2048],
    ["zeros.jsonl", 2048],
  ] as const) {
    save(name, "");
    truncateSync(join(folder, name), megabytes * 1024 * 1024);
  }
  save("bundle.json", canonicalize((await made.bundle()) as unknown as JsonValue));
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

interface End {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function audit(...words: string[]): End {
  return verifier(["audit", ...words]);
}

/** A command that hangs is ended, and its status is null. */
function verifier(words: readonly string[], input?: { fd: number } | { text: string }): End {
  const bin = resolve("packages/verify/bin/sovereign-verify.js");
  const stdin = input !== undefined && "fd" in input ? input.fd : "pipe";
  return spawnSync(process.execPath, [bin, ...words], {
    cwd: folder,
    encoding: "utf8",
    timeout: 60_000,
    stdio: [stdin, "pipe", "pipe"],
    ...(input !== undefined && "text" in input ? { input: input.text } : {}),
  });
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
    ["a named pipe that nobody writes", ["fifo"], /a named pipe.*ERR_FILE_UNREADABLE/],
    ["a device", ["/dev/zero"], /a device.*ERR_FILE_UNREADABLE/],
    ["an empty file", ["empty.jsonl"], /The file is empty.*ERR_AUDIT_MALFORMED/],
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

describe("a file of any kind", () => {
  it("of two gigabytes of nothing is judged at its first line", () => {
    const end = audit("zeros.jsonl");
    expect(end).toMatchObject({ status: 4, stderr: "" });
    expect(end.stdout).toMatch(/^INVALID: 0 entries .*\n {2}line 1: A line of more than/);
  });

  it.each<[string, string, RegExp]>([
    ["a folder", ".", /a folder.*ERR_FILE_UNREADABLE/],
    ["a named pipe that nobody writes", "fifo", /a named pipe.*ERR_FILE_UNREADABLE/],
    ["a device", "/dev/zero", /a device.*ERR_FILE_UNREADABLE/],
    ["nothing", "empty.jsonl", /ERR_BUNDLE_MALFORMED/],
    ["two gigabytes", "sparse.json", /at most \d+ bytes, found 2147483648.*ERR_FILE_UNREADABLE/],
  ])("is no bundle, and is refused at once: %s", (_, file, told) => {
    const end = verifier(["--bundle", file, "--trust", "trust-root.json"]);
    expect(end).toMatchObject({ status: 2, stdout: "" });
    expect(end.stderr).toMatch(told);
  });

  it("that is a socket is refused", async () => {
    const server = createServer();
    const path = join(folder, "socket");
    await new Promise<void>((done) => server.listen(path, done));
    for (const words of [
      ["--bundle", path],
      ["audit", path],
    ]) {
      expect(verifier(words)).toMatchObject({ status: 2, stdout: "" });
    }
    server.close();
  });

  it("is read from standard input where that is a pipe or a file, and from no device", () => {
    const text = readFileSync(join(folder, "bundle.json"), "utf8");
    const words = ["--bundle", "/dev/stdin", "--trust", "trust-root.json", "--quiet"];
    expect(verifier(words, { text })).toMatchObject({ status: 0, stdout: "VALID\n" });
    const fd = openSync(join(folder, "bundle.json"), "r");
    expect(verifier(words, { fd })).toMatchObject({ status: 0, stdout: "VALID\n" });
    const log = readFileSync(join(folder, "audit.jsonl"), "utf8");
    expect(verifier(["audit", "/dev/stdin"], { text: log }).stdout).toMatch(/^CONSISTENT: /);
    for (const end of [
      verifier(words, { fd: openSync("/dev/zero", "r") }),
      verifier(["audit", "/dev/stdin"], { fd: openSync("/dev/zero", "r") }),
    ]) {
      expect(end).toMatchObject({ status: 2, stdout: "" });
      expect(end.stderr).toMatch(/a device/);
    }
  });
});
