import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ErrorCode, isSovereignError } from "@sovereign/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type VendorInput, VendorStore } from "../../src/agents/index.ts";

const AT = "2026-11-28T22:00:00.000Z";
const SECRET = "sk-canary-5d1e0c";
const INPUT: VendorInput = {
  name: "anthropic",
  baseUrl: "https://api.anthropic.com",
  auth: "x-api-key",
  wires: ["anthropic_messages", "anthropic_count"],
  provider: "anthropic",
  price: null,
  outputField: "max_tokens",
  key: SECRET,
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vendors-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const fileOf = (): string => join(folder, "models", "anthropic.vendor.json");
const store = (passphrase: string | null = null): VendorStore =>
  new VendorStore(join(folder, "models"), passphrase);

test("keeps a vendor's key in a file of its owner's alone, and tells it to nobody who lists", async () => {
  await store().add(INPUT, AT, false);
  expect(statSync(fileOf()).mode & 0o777).toBe(0o600);
  expect(statSync(join(folder, "models")).mode & 0o777).toBe(0o700);
  expect(JSON.stringify(store().list())).not.toContain(SECRET);
  expect((await store().open("anthropic")).key).toBe(SECRET);
});

test("encrypts the key where there is a passphrase, and opens it with no other", async () => {
  await store("correct horse").add(INPUT, AT, false);
  const text = readFileSync(fileOf(), "utf8");
  expect(text).not.toContain(SECRET);
  expect(text).not.toContain(Buffer.from(SECRET).toString("base64").slice(0, 8));
  expect((await store("correct horse").open("anthropic")).key).toBe(SECRET);
  await refused(store("another one").open("anthropic"), "ERR_KEY_PASSPHRASE");
  await refused(store().open("anthropic"), "ERR_KEY_PASSPHRASE");
});

test("opens a sealed key for the host that it was given for, and for no other", async () => {
  await store("correct horse").add(INPUT, AT, false);
  const moved = readFileSync(fileOf(), "utf8").replace("api.anthropic.com", "evil.example.org");
  writeFileSync(fileOf(), moved);
  await refused(store("correct horse").open("anthropic"), "ERR_KEY_PASSPHRASE");
});

test("refuses a file that others may read, or that is not one of ours", async () => {
  await store().add(INPUT, AT, false);
  chmodSync(fileOf(), 0o644);
  await refused(store().open("anthropic"), "ERR_MODEL_VENDOR_FILE");
  chmodSync(fileOf(), 0o600);
  writeFileSync(fileOf(), readFileSync(fileOf(), "utf8").replace('"none"', '"some"'));
  const error = await refused(store().open("anthropic"), "ERR_MODEL_VENDOR_FILE");
  expect(String(error)).not.toContain(Buffer.from(SECRET).toString("base64"));
});

test("replaces a vendor only when it is told to, and forgets one", async () => {
  await store().add(INPUT, AT, false);
  await refused(store().add(INPUT, AT, false), "ERR_MODEL_VENDOR");
  await store().add({ ...INPUT, key: "another" }, AT, true);
  expect((await store().open("anthropic")).key).toBe("another");
  store().remove("anthropic");
  await refused(store().open("anthropic"), "ERR_MODEL_VENDOR_UNKNOWN");
});

for (const baseUrl of [
  "ftp://example.org",
  "http://example.org",
  "https://user:pass@example.org",
  "https://example.org/?key=1",
  "https://10.0.0.1",
  "https://169.254.169.254",
  "https://[fe80::1]",
  "https://0x0a000001",
  "none",
]) {
  test(`refuses the base URL ${baseUrl}`, async () => {
    await refused(store().add({ ...INPUT, baseUrl }, AT, false), "ERR_MODEL_VENDOR");
  });
}

for (const [what, change] of [
  ["a name that is a path", { name: "../x" }],
  ["a key with a line end", { key: "a\nx-other: b" }],
  ["no key where one is shown", { key: null }],
] as const) {
  test(`refuses ${what}`, async () => {
    await refused(store().add({ ...INPUT, ...change }, AT, false), "ERR_MODEL_VENDOR");
  });
}

async function refused(work: Promise<unknown>, code: ErrorCode): Promise<unknown> {
  const error: unknown = await work.then(
    () => null,
    (one: unknown) => one,
  );
  expect(isSovereignError(error) ? error.code : error).toBe(code);
  return error;
}
