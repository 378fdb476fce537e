import { spawn } from "node:child_process";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliEnd, endOf } from "./cli.ts";

let folder: string;
let signed: string;
let unsigned: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-release-"));
  const [releaser, other] = [0, 1].map(() => generateKeyPairSync("ed25519"));
  writeKey("releaser", releaser!);
  writeFileSync(join(folder, "other.pub"), pem(other!.publicKey));
  signed = join(folder, "signed.json");
  unsigned = join(folder, "unsigned.json");
  const made = await make("--key", join(folder, "releaser.pem"), "--out", signed);
  expect(made).toMatchObject({ code: 0 });
  expect(made.out).toMatch(/EX-B pass: [1-9]\d\d sources[^]*PASS, signed by [0-9a-f]{64}/);
  const bare = await make("--out", unsigned);
  expect(bare).toMatchObject({ code: 0 });
  expect(bare.out).toContain("UNSIGNED: no --key was given");
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function pem(key: KeyObject): string {
  return key.export({ type: "spki", format: "pem" }).toString();
}

function writeKey(name: string, pair: { publicKey: KeyObject; privateKey: KeyObject }): void {
  writeFileSync(join(folder, `${name}.pub`), pem(pair.publicKey));
  const secret = pair.privateKey.export({ type: "pkcs8", format: "pem" });
  writeFileSync(join(folder, `${name}.pem`), secret, { mode: 0o600 });
}

function node(...args: string[]): Promise<CliEnd> {
  return endOf(spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] }));
}

function make(...args: string[]): Promise<CliEnd> {
  return node("tools/release-receipt.ts", ...args);
}

/** The verifier alone, as an auditor has it. */
function verify(receipt: string, sources = ".", ...more: string[]): Promise<CliEnd> {
  const bin = resolve("packages/verify/bin/sovereign-verify.js");
  return node(bin, "release", receipt, "--sources", sources, ...more);
}

const key = (name: string): [string, string] => ["--key", join(folder, `${name}.pub`)];

/** A copy of the sources, to be changed. */
function copy(name: string): string {
  const to = join(folder, name);
  for (const one of readdirSync("packages")) {
    mkdirSync(join(to, "packages", one), { recursive: true });
    cpSync(`packages/${one}/src`, join(to, "packages", one, "src"), { recursive: true });
  }
  return to;
}

describe("a release's receipt", () => {
  it("holds by the releaser's key, over exactly its sources", async () => {
    const { code, out } = await verify(signed, ".", ...key("releaser"));
    expect(out).toMatch(/gates: PASS\nVerdict: VALID/);
    expect(code).toBe(0);
    expect(await verify(signed, copy("same"), ...key("releaser"))).toMatchObject({ code: 0 });
  });

  it("is worth no more than who vouches for it", async () => {
    expect((await verify(unsigned, ".", ...key("releaser"))).out).toContain("Verdict: UNSIGNED");
    expect((await verify(signed)).out).toContain("Verdict: UNTRUSTED_KEY");
    const other = await verify(signed, ".", ...key("other"));
    expect(other.out).toContain("Verdict: INVALID");
    expect(other.code).toBe(4);
  });

  it.each<[string, (text: string) => string]>([
    ["a digest", (text) => text.replace(/("packages\/[^"]+":")[0-9a-f]{4}/, "$10000")],
    ["its release", (text) => text.replace(/"release":"[^"]+"/, '"release":"9.9.9"')],
    ["a verdict", (text) => text.replace('"verdict":"pass"', '"verdict":"fail"')],
  ])("is INVALID with %s edited", async (_, edit) => {
    const envelope = JSON.parse(readFileSync(signed, "utf8")) as { payload: string };
    const payload = edit(Buffer.from(envelope.payload, "base64").toString("utf8"));
    const file = join(folder, "edited.json");
    const edited = { ...envelope, payload: Buffer.from(payload).toString("base64") };
    expect(edited.payload).not.toBe(envelope.payload);
    writeFileSync(file, JSON.stringify(edited));
    const { code, out } = await verify(file, ".", ...key("releaser"));
    expect(out).toContain("Verdict: INVALID");
    expect(code).toBe(4);
  });

  it.each<[string, (root: string) => void, string]>([
    [
      "changed",
      (root) => {
        appendFileSync(join(root, "packages/core/src/index.ts"), "\n");
      },
      "packages/core/src/index.ts is another file",
    ],
    [
      "gone",
      (root) => {
        rmSync(join(root, "packages/core/src/index.ts"));
      },
      "packages/core/src/index.ts is not there",
    ],
    [
      "more",
      (root) => {
        const line = 'import "node:child_process";\n';
        writeFileSync(join(root, "packages/core/src/more.ts"), line);
      },
      "packages/core/src/more.ts was not judged[^]*it says PASS, and the gates say FAIL",
    ],
  ])("is INVALID where a source is %s", async (name, change, found) => {
    const root = copy(name);
    change(root);
    const { code, out } = await verify(signed, root, ...key("releaser"));
    expect(out).toMatch(new RegExp(`${found}[^]*Verdict: INVALID`));
    expect(code).toBe(4);
  });

  it.each([
    ["no sources", ["release", "x.json"]],
    ["a folder without sources", ["release", "package.json", "--sources", "docs"]],
    ["a file that is no receipt", ["release", "package.json", "--sources", "."]],
    ["a key that is none", ["release", "package.json", "--sources", ".", "--key", "LICENSE"]],
  ])("is refused with %s", async (_, args) => {
    const end = await node(resolve("packages/verify/bin/sovereign-verify.js"), ...args);
    expect(end.code).toBe(2);
    expect(end.err).toMatch(/ERR_|expected/);
  });
});
