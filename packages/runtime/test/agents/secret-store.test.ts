import {
  chmodSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SecretStore } from "../../src/agents/index.ts";

const AT = "2026-11-28T22:00:00.000Z";
const INPUT = {
  name: "API_KEY",
  hosts: ["API.example.org:443", "b.example.org:8443"],
  value: "canary-8f4e1c07",
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "secrets-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const store = (tenant = "acme", passphrase: string | null = null): SecretStore =>
  new SecretStore(folder, tenant, passphrase);
const fileOf = (tenant: string): string => join(folder, tenant, "API_KEY.secret.json");
const code = (one: string): unknown => expect.objectContaining({ code: one });

it("keeps a secret for its hosts in a file of its owner's alone, and lists it without its value", async () => {
  await store().set(INPUT, AT);
  expect(statSync(fileOf("acme")).mode & 0o777).toBe(0o600);
  expect(store().list()).toEqual([
    {
      tenant_id: "acme",
      name: "API_KEY",
      hosts: ["api.example.org", "b.example.org:8443"],
      set_at: AT,
      protection: "none",
    },
  ]);
  expect((await store().open("API_KEY")).value).toBe(INPUT.value);
});

it("seals it where there is a passphrase, for its tenant, name and hosts alone", async () => {
  await store("acme", "correct horse").set(INPUT, AT);
  const text = readFileSync(fileOf("acme"), "utf8");
  expect(text).not.toContain(INPUT.value);
  expect(text).not.toContain(Buffer.from(INPUT.value).toString("base64").slice(0, 8));
  expect((await store("acme", "correct horse").open("API_KEY")).value).toBe(INPUT.value);
  writeFileSync(fileOf("acme"), text.replace("api.example.org", "evil.example.org"));
  await expect(store("acme", "correct horse").open("API_KEY")).rejects.toEqual(
    code("ERR_KEY_PASSPHRASE"),
  );
});

it("is no other tenant's, also where its file is copied to one", async () => {
  await store().set(INPUT, AT);
  expect(store("globex").list()).toEqual([]);
  await expect(store("globex").open("API_KEY")).rejects.toEqual(code("ERR_SECRET_UNKNOWN"));
  cpSync(join(folder, "acme"), join(folder, "globex"), { recursive: true });
  await expect(store("globex").open("API_KEY")).rejects.toEqual(code("ERR_SECRET_FILE"));
});

it("refuses a file that others may read", async () => {
  await store().set(INPUT, AT);
  chmodSync(fileOf("acme"), 0o644);
  await expect(store().open("API_KEY")).rejects.toEqual(code("ERR_SECRET_FILE"));
});

it("replaces and removes one", async () => {
  await store().set(INPUT, AT);
  await store().set({ ...INPUT, value: "another-one" }, AT);
  expect((await store().open("API_KEY")).value).toBe("another-one");
  store().remove("API_KEY");
  expect(() => {
    store().remove("API_KEY");
  }).toThrow(code("ERR_SECRET_UNKNOWN"));
});

it.each([
  ["no name", { name: "../x" }],
  ["a name in small letters", { name: "key" }],
  ["a short value", { value: "short" }],
  ["a value of two lines", { value: "long enough\nx-other: b" }],
  ["no host", { hosts: [] }],
])("refuses %s, and quotes no value", async (_, change) => {
  const error: unknown = await store()
    .set({ ...INPUT, ...change }, AT)
    .catch((one: unknown) => one);
  expect(error).toEqual(code("ERR_SECRET_INVALID"));
  expect(String(error)).not.toContain(INPUT.value);
});

it.each(["*.example.org", "https://example.org", "a b", "example.org/x"])(
  "refuses the host %s",
  async (host) => {
    await expect(store().set({ ...INPUT, hosts: [host] }, AT)).rejects.toEqual(
      code("ERR_SECRET_INVALID"),
    );
  },
);
