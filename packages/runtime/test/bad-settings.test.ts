import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JsonObject, parseStrictJson, sha256Hex } from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { badRefusals, type Door } from "../../verify/test/support/bad-documents.ts";
import { VendorStore } from "../src/agents/model-proxy/vendor-store.ts";
import { parseExecRequest, readDiff } from "../src/executor/index.ts";
import { knownInstallation, Settings, trustedDigest, trustPolicy } from "../src/home/index.ts";
import { freezePolicy, openFrozenPolicy, parsePolicy } from "../src/policy/index.ts";
import { requestOf } from "../src/services/agents/agent-request.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-bad-settings-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const POLICY = ["ERR_POLICY_SYNTAX", "ERR_POLICY_INVALID", "ERR_POLICY_TOO_LARGE"];
const JSON_CODES = ["MALFORMED", "TOO_DEEP", "DUPLICATE_KEY", "TOO_LARGE"].map(
  (one) => `ERR_JSON_${one}`,
);
const NOW = "2026-01-01T00:00:00.000Z";

/** The sections of a policy that came last: agents and their tools, presets and mounts. */
const sections = (): JsonObject => ({
  policy_id: "p",
  schema_version: "1.0.0",
  agent: { run: ["claude"], tools: { Bash: "allow", Read: "judge" } },
  presets: ["node", "python"],
  mounts: [{ path: "~/sdk", at: "/opt/sdk", digest: "0".repeat(64), copy: false }],
  operations: [{ type: "llm.call", resources: ["**"] }],
  approvals: [{ operations: ["agent.run"], required: 1, roles: ["reviewer"] }],
});

const order = {
  agent: "claude",
  role: "executor",
  task: "Mend the test.",
  model: "vendor/model",
  command: null,
  verify: ["npm test"],
  timeoutSeconds: 60,
  budgetMicrousd: 1000,
  turnsMax: null,
};

function inFolder(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  chmodSync(path, 0o600);
  return path;
}

function trustDoor(): Door {
  const home = join(folder, "home");
  mkdirSync(home, { mode: 0o700 });
  const policy = "/somewhere/policy.yaml";
  trustPolicy(home, policy, Buffer.from("a policy"));
  const [name = ""] = readdirSync(join(home, "trusted-policies"));
  return {
    name: "record of a trusted policy",
    genuine: { path: policy, sha256: sha256Hex(Buffer.from("a policy")), at: NOW },
    form: "json",
    read: (bytes) => {
      inFolder(join("home/trusted-policies", name), bytes);
      return trustedDigest(home, policy);
    },
    codes: ["ERR_DATA_FOLDER"],
  };
}

async function vendorDoor(): Promise<Door> {
  const store = new VendorStore(join(folder, "models"), null);
  const name = "vendor";
  const input = {
    ...{ name, baseUrl: "https://api.example.org/v1", auth: "bearer", key: "secret-key-1" },
    ...{ wires: ["anthropic_messages"], provider: "p", price: { input: 1, output: 2 } },
    outputField: "max_tokens",
  } as unknown as Parameters<VendorStore["add"]>[0];
  await store.add(input, NOW, false);
  const [file = ""] = readdirSync(join(folder, "models"));
  const genuine = parseStrictJson(readFileSync(join(folder, "models", file)));
  return {
    name: "file of a vendor",
    genuine,
    form: "json",
    read: async (bytes) => {
      inFolder(join("models", file), bytes);
      store.list();
      try {
        await store.open(name);
      } catch (error) {
        expect((error as Error).message).not.toMatch(/secret-key|c2VjcmV0/);
        throw error;
      }
    },
    codes: ["ERR_MODEL_VENDOR_FILE", "ERR_DATA_FOLDER"],
  };
}

const DOORS: readonly [string, () => Door | Promise<Door>][] = [
  [
    "policy with agents, presets and mounts, in JSON",
    () => ({
      name: "policy",
      genuine: sections(),
      form: "json",
      read: (bytes) => parsePolicy(bytes, "policy.json"),
      codes: POLICY,
    }),
  ],
  [
    "policy with agents, presets and mounts, in YAML",
    () => ({
      name: "policy",
      genuine: sections(),
      form: "yaml",
      read: (bytes) => parsePolicy(bytes, "policy.yaml"),
      codes: POLICY,
    }),
  ],
  [
    "policy with tools, as it was frozen",
    () => ({
      name: "policy.json",
      genuine: freezePolicy(parsePolicy(Buffer.from(JSON.stringify(sections())), "p.json")),
      form: "json",
      read: (bytes) => openFrozenPolicy(bytes, "policy.json"),
      codes: [...JSON_CODES, "ERR_POLICY_INVALID"],
      places: 25,
    }),
  ],
  [
    "order for an agent, as a request",
    () => ({
      name: "agent.json",
      genuine: requestOf(order, "2026-01-01T00:00:00Z"),
      form: "json",
      read: (bytes) => parseExecRequest(bytes, "agent.json"),
      codes: ["ERR_REQUEST_INVALID"],
    }),
  ],
  ["record of a trusted policy", trustDoor],
  ["file of a vendor", vendorDoor],
  [
    "installation file",
    () => ({
      name: "installation.json",
      genuine: {
        installation_id: `ins_${"a".repeat(20)}`,
        created_at: NOW,
        root_keys: ["0".repeat(64)],
      },
      form: "json",
      read: (bytes) => {
        inFolder("installation.json", bytes);
        return knownInstallation(folder);
      },
      codes: ["ERR_DATA_FOLDER"],
    }),
  ],
  [
    "settings",
    () => ({
      name: "config.yaml",
      genuine: {
        scram: { max_termination_ms: 500 },
        database: { url: "postgres://host/db" },
        keys: { enrol: "manual" },
      },
      form: "yaml",
      read: (bytes) => {
        inFolder("config.yaml", bytes);
        return Settings.of(folder, { HOME: folder }).list();
      },
      codes: ["ERR_DATA_FOLDER", "ERR_SCRAM_CONFIG"],
      allows: ["nothing", "a space", "instead of all: null"],
    }),
  ],
];

describe("a document that is bad in one way", { timeout: 120_000 }, () => {
  it.each(DOORS)("is refused with its place: %s", async (_name, make) => {
    const door = await make();
    await door.read(Buffer.from(JSON.stringify(door.genuine)));
    const { cases, problems } = await badRefusals(door);
    expect(problems.slice(0, 20)).toEqual([]);
    expect(cases).toBeGreaterThan(60);
  });
});

// ── Diffs: text of others, line by line ─────────────────────────────────────────────────────────

const GIT = [
  ...["diff --git a/one.txt b/one.txt", "index 1111111..2222222 100644", "--- a/one.txt"],
  ...["+++ b/one.txt", "@@ -1,2 +1,2 @@", " same", "-old", "+new"],
  ...["diff --git a/two b/three", "similarity index 90%", "rename from two", "rename to three"],
  ...["index 1111111..2222222 100644", "--- a/two", "+++ b/three", "@@ -1 +1 @@", "-a", "+b"],
  ...["diff --git a/bin b/bin", "index 1111111..2222222 100644", "GIT binary patch"],
  ...["literal 3", "Kc$@(M@%", "", "literal 0", "HcmV?d00001", "", ""],
];
const MAIL = [
  `From ${"1".repeat(40)} Mon Sep 17 00:00:00 2001`,
  ...["From: A <a@example.org>", "Date: Thu, 1 Jan 2026 00:00:00 +0000"],
  ...["Subject: [PATCH] =?UTF-8?q?Mend=20it?=", "", "Why.", "---", " one.txt | 2 +-", ""],
  ...GIT.slice(0, 8),
  ...["-- ", "2.40.0", ""],
];

/** Each way to spoil one line. */
const SPOILS: readonly [string, (line: string) => string[]][] = [
  ["left out", () => []],
  ["twice", (line) => [line, line]],
  ["cut", (line) => [line.slice(0, line.length >> 1)]],
  ["with more", (line) => [`${line} x`]],
  ["with a control character", (line) => [`${line}\u001b[2J\u0000`]],
  ["with 70,000 characters", (line) => [`${line}${"x".repeat(70_000)}`]],
  ["with numbers that are too large", (line) => [line.replaceAll(/\d+/g, "99999999999999999999")]],
  ["that leads out", (line) => [line.replaceAll(/(one\.txt|two|three|bin)/g, "../../$1")]],
  ["that is absolute", (line) => [line.replaceAll(/[ab]\/(one\.txt|two|three|bin)/g, "/etc/$1")]],
  ["with a broken quote", (line) => [line.replaceAll(/(a\/\S+)/g, '"$1\\777\\')]],
  ["with half a character", (line) => [`${line}\ud800`]],
  ["as a mail", (line) => [`From ${"1".repeat(40)} x`, line]],
];

const ENCODINGS: readonly [string, (text: string) => Buffer][] = [
  ["UTF-16, little end first", (text) => Buffer.from(`\ufeff${text}`, "utf16le")],
  ["UTF-16, big end first", (text) => Buffer.from(`\ufeff${text}`, "utf16le").swap16()],
  ["nothing", () => Buffer.alloc(0)],
  ["zeros", () => Buffer.alloc(100_000)],
  ["a million empty lines", () => Buffer.alloc(1_000_000, 10)],
  ["a mail without an end", (text) => Buffer.from(text.slice(0, 60))],
  ["a JSON document", () => Buffer.from('{"a":1}')],
];

/** Refused with file and line, or read as a diff of files that each have a name. */
function expectRead(bytes: Uint8Array, what: string): void {
  try {
    for (const { files } of readDiff(bytes, "change.patch")) {
      for (const { path } of files) expect(path, what).not.toBe("");
    }
  } catch (error) {
    expect(error, what).toMatchObject({ code: "ERR_REQUEST_INVALID" });
    const { message } = error as Error;
    expect(message, what).toMatch(/^change\.patch(:\d+)?: [^\u0000-\u001f\ud800-\udfff]{1,600}$/);
  }
}

describe("a diff that is bad in one line", () => {
  it.each([
    ["git diff", GIT],
    ["git format-patch", MAIL],
  ])("is refused with its place, or read as what it says: %s", (_name, lines) => {
    const whole = lines.join("\n");
    expect(readDiff(Buffer.from(whole), "change.patch").length).toBe(1);
    for (const [at, line] of lines.entries()) {
      for (const [how, spoil] of SPOILS) {
        const spoilt = [...lines.slice(0, at), ...spoil(line), ...lines.slice(at + 1)].join("\n");
        for (const encoding of ["utf8", "latin1"] as const) {
          expectRead(Buffer.from(spoilt, encoding), `line ${at + 1} ${how} in ${encoding}`);
        }
        expectRead(Buffer.from(spoilt.replaceAll("\n", "\r\n")), `line ${at + 1} ${how}, CR LF`);
      }
    }
    for (const [how, encode] of ENCODINGS) expectRead(encode(whole), how);
  });
});
