import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Installation, type Json } from "./cli.ts";

const installation = new Installation({ processes: "one" });
const keysFolder = join(installation.home, "keys");
const BOTH = ["--operator-key", "alice", "--architect-key", "bob"];

beforeAll(async () => {
  await installation.run(["keys", "init"]);
  await installation.run(["keys", "add", "--operator", "alice", "--architect", "bob"]);
});
afterAll(() => installation.dispose());

async function one(args: readonly string[]): Promise<{ code: number | null; found: Json }> {
  const { code, documents } = await installation.json(args);
  return { code, found: documents.at(-1) ?? {} };
}

describe("a key that is refused", () => {
  it("for its name leaves no file, and none of the others is made", async () => {
    const before = readdirSync(keysFolder);
    const flags = ["--role", "trainer", "--role", "Release Manager"];
    const { code, err } = await installation.run(["keys", "add", ...flags]);
    expect({ code, err }).toMatchObject({
      code: 2,
      err: expect.stringContaining("expected 1 to 63 of a-z") as string,
    });
    expect(readdirSync(keysFolder)).toEqual(before);
  });
});

describe("one person", () => {
  it("does not get both keys of the kill switch", async () => {
    const before = readdirSync(keysFolder);
    for (const flags of [
      ["--operator", "eve", "--architect", "eve"],
      ["--architect", "a1ice"],
    ]) {
      const { code, found } = await one(["keys", "add", ...flags]);
      expect({ code, found }).toMatchObject({
        code: 3,
        found: { error: { code: "ERR_KEY_HOLDER" } },
      });
    }
    expect(readdirSync(keysFolder)).toEqual(before);
  });
});

describe("a file in the folder of the keys that is no key of ours", () => {
  it("is named by health, and neither keeps a stop nor a reset", async () => {
    const stray = join(keysFolder, "backup.key.json");
    writeFileSync(stray, "{}");
    chmodSync(stray, 0o644);
    const health = await installation.run(["health"]);
    expect(health).toMatchObject({ code: 0, err: expect.stringContaining(stray) as string });
    expect((await one(["scram", "activate", ...BOTH])).found).toMatchObject({
      receipt: { authorized: true },
      event: { scram_state: "COMPLETE" },
    });
    const reset = await one(["scram", "reset", ...BOTH, "--reason", "found"]);
    expect(reset).toMatchObject({ code: 0, found: { state: "ARMED" } });
    expect((await one(["health"])).found).toMatchObject({
      runner_status: "HEALTHY",
      warnings: [expect.stringContaining("chmod 600") as string],
    });
    rmSync(stray);
    expect((await one(["health"])).found).toMatchObject({ warnings: [] });
  });
});

describe("the claim of a tenant", () => {
  it("is written for its owner alone, and over no other file", async () => {
    const out = join(installation.home, "acme.claim.json");
    const words = ["tenants", "claim", "acme", "--out", out];
    expect(await installation.run(words)).toMatchObject({ code: 0, out: "" });
    expect(statSync(out).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(out, "utf8"))).toMatchObject({
      tenant_id: "acme",
      claim: "tenant/acme",
      role: "sovereign_app",
      secret: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    });
    expect(await installation.run(words)).toMatchObject({ code: 2 });
    const taken = ["tenants", "claim", "installation", "--out", `${out}.2`];
    expect(await installation.run(taken)).toMatchObject({ code: 2 });
    expect(existsSync(`${out}.2`)).toBe(false);
  });
});

describe("a data folder in a work tree", () => {
  it("is refused, and nothing is made there", async () => {
    const tree = join(installation.home, "tree");
    const home = join(tree, "data");
    mkdirSync(join(tree, ".git"), { recursive: true });
    for (const args of [
      ["scram", "status"],
      ["keys", "init"],
    ]) {
      const end = await installation.run(args, { SOVEREIGN_HOME: home });
      expect(end.code, args.join(" ")).not.toBe(0);
      expect(existsSync(home), args.join(" ")).toBe(false);
    }
  });
});

describe("a result that cannot be written", () => {
  const sovereign = resolve("packages/runtime/bin/sovereign.js");
  const shell = (line: string): { status: number | null; stderr: string } => {
    const env = { PATH: process.env["PATH"], HOME: installation.home };
    const words = {
      SOVEREIGN: `${process.execPath} ${sovereign}`,
      VERIFY: `${process.execPath} ${resolve("packages/verify/bin/sovereign-verify.js")}`,
      SOVEREIGN_HOME: installation.home,
    };
    return spawnSync("sh", ["-c", line], { env: { ...env, ...words }, encoding: "utf8" });
  };

  it("ends in one line and exit code 1 on a full disk, and in none when nobody reads", () => {
    const full = shell("$SOVEREIGN scram keys > /dev/full");
    expect(full).toMatchObject({
      status: 1,
      stderr: "sovereign: standard output cannot be written: ENOSPC\n",
    });
    const verified = shell("$VERIFY --help > /dev/full");
    expect(verified).toMatchObject({
      status: 1,
      stderr: "sovereign-verify: standard output cannot be written: ENOSPC\n",
    });
    const unread = shell("$SOVEREIGN scram keys | true; $SOVEREIGN scram keys --json | head -c 1");
    expect(unread.stderr).toBe("");
  });

  it("is told before anything is made of it", () => {
    const run = `run_${"a".repeat(20)}`;
    const before = readdirSync(tmpdir()).filter((name) => name.includes("partial"));
    for (const [line, why] of [
      [`$SOVEREIGN bundle export ${run} --out /tmp`, "it is a folder"],
      [`$SOVEREIGN bundle export ${run} --out x.tar`, "ends with .json or .zip"],
      ["$SOVEREIGN keys export-trust --out /dev/full", "no space is left there"],
      ["$SOVEREIGN --tenant ../x run list", "ERR_TENANT_INVALID"],
      ["$SOVEREIGN run resume ../x", "expected run_ and 20 of a-z 0-9"],
    ] as const) {
      const { status, stderr } = shell(line);
      expect({ status, stderr }, line).toMatchObject({
        status: 2,
        stderr: expect.stringContaining(why) as string,
      });
    }
    expect(readdirSync(tmpdir()).filter((name) => name.includes("partial"))).toEqual(before);
  });
});
