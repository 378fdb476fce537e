import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Installation, runEnded } from "./cli.ts";

let installation: Installation;
let folder: string;
let server: Server;
let run: string;
let file: string;
let trust: string;
let before: string;
const ACME = ["--tenant", "acme"];

beforeAll(async () => {
  installation = new Installation({ processes: "one" });
  folder = mkdtempSync(join(tmpdir(), "sov-ledger-"));
  file = join(folder, "archive.tar");
  trust = join(folder, "trust.json");
  server = createServer((_, response) => {
    response.end("ok");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const operations = [{ type: "skill.http_call", resources: [host] }];
  const policy = { policy_id: "p", schema_version: "1.0.0", operations };
  writeFileSync(join(folder, "policy.json"), JSON.stringify(policy));
  const step = { id: "one", skill: "http_call", with: { url: `http://${host}/` } };
  writeFileSync(join(folder, "plan.json"), JSON.stringify({ steps: [step] }));
  const ran = await installation.json([
    ...["run", "--tenant-id", "acme", "--agent-id", "bot", "--goal", "call a server"],
    ...["--plan", join(folder, "plan.json"), "--policy", join(folder, "policy.json")],
  ]);
  ({ run } = runEnded(ran.documents));
  before = new Date().toISOString();
  await installation.run(["keys", "export-trust", "--out", trust]);
});
afterAll(async () => {
  server.close();
  await installation.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const bundle = async (name: string, ...words: string[]): Promise<Buffer> => {
  const out = join(folder, name);
  const { code } = await installation.run([
    "bundle",
    "export",
    run,
    ...ACME,
    "--out",
    out,
    ...words,
  ]);
  expect(code).toBe(0);
  return readFileSync(out);
};

describe("old entries of the ledger, on the command line", () => {
  it("go into a file, are read there, and come back", async () => {
    const evidence = await bundle("before.json");
    const none = await installation.run([
      "ledger",
      "archive",
      ...ACME,
      "--before",
      "2020-01-01",
      "--out",
      file,
    ]);
    expect(none).toMatchObject({
      code: 0,
      out: expect.stringContaining("nothing to archive") as string,
    });
    const make = ["ledger", "archive", ...ACME, "--before", before, "--out", file];
    const made = await installation.json(make);
    expect(made).toMatchObject({ code: 0, documents: [{ file, tenant: "acme", runs: 1 }] });
    const entries = made.documents[0]?.["entries"];
    expect(made.documents[0]?.["taken"]).toBe(entries);
    expect(await installation.json(make)).toMatchObject({ code: 0, documents: [{ taken: 0 }] });

    const listed = await installation.run(["ledger", "archives", ...ACME]);
    expect(listed.out).toContain(String(made.documents[0]?.["digest"]));
    const verify = ["ledger", "verify-archive", file];
    expect(await installation.run([...verify, "--trust", trust])).toMatchObject({
      code: 0,
      out: expect.stringContaining("VALID: acme of ins_") as string,
    });
    expect(await installation.json(verify)).toMatchObject({
      code: 4,
      documents: [{ verdict: "UNTRUSTED_KEY" }],
    });

    const proof = await installation.run(["runs", "proof", run, ...ACME]);
    expect(proof).toMatchObject({ code: 1, out: "" });
    expect(proof.err.trim().split("\n")).toHaveLength(1);
    expect(proof.err).toContain("sovereign ledger restore FILE");
    expect(await bundle("archived.json", "--archive", file)).toEqual(evidence);
    const log = join(folder, "audit.jsonl");
    const audit = ["audit", "export", ...ACME, "--out", log];
    expect((await installation.json(audit)).documents).toMatchObject([
      { error: { code: "ERR_ENTRY_ARCHIVED", exit: 1 } },
    ]);
    expect((await installation.run([...audit, "--archive", file])).code).toBe(0);
    expect((await installation.json(["verify-audit", log])).documents).toMatchObject([
      { verdict: "CONSISTENT" },
    ]);

    const back = ["ledger", "restore", file];
    expect(await installation.json(back)).toMatchObject({
      code: 0,
      documents: [{ putBack: entries }],
    });
    expect((await installation.run(["runs", "proof", run, ...ACME])).code).toBe(0);
    expect(await bundle("after.json")).toEqual(evidence);
  });

  it("are refused in one line where the file or the words are wrong", async () => {
    const fifo = join(folder, "fifo");
    execFileSync("mkfifo", [fifo]);
    const text = join(folder, "text");
    writeFileSync(text, "no archive");
    for (const [code, ...words] of [
      [2, "ledger", "verify-archive", fifo],
      [2, "ledger", "restore", folder],
      [2, "ledger", "restore", join(folder, "none")],
      [4, "ledger", "restore", text],
      [4, "ledger", "verify-archive", text, "--trust", trust],
      [4, "audit", "export", ...ACME, "--archive", text, "--out", join(folder, "x")],
      [2, "ledger", "archive", ...ACME, "--before", "yesterday", "--out", file],
      [2, "ledger", "archive", ...ACME, "--before", "2999-01-01", "--out", file],
      [2, "ledger", "archive", ...ACME, "--before", "2026-01-01"],
    ] as const) {
      const end = await installation.run(words);
      expect([words, end.code, end.out]).toEqual([words, code, ""]);
      // Of a wrong option the second line names the help.
      const said = end.err.replace("(ERR_USAGE; add --help for what is expected)\n", "").trim();
      expect([words, said.split("\n")]).toEqual([words, [expect.any(String)]]);
    }
  });
});
