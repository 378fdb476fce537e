import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  base64Decode,
  canonicalBytes,
  type Envelope,
  type JsonObject,
  type JsonValue,
  parseStatement,
  parseStrictJson,
  type PredicateName,
  predicateType,
  type Signer,
  SovereignError,
  sha256Hex,
  signEnvelope,
  STATEMENT_PAYLOAD_TYPE,
} from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { badRefusals, type Door } from "../../verify/test/support/bad-documents.ts";
import { Keystore } from "../src/authority/index.ts";
import type { Outcome } from "../src/kernel/index.ts";
import { createModelRegistry } from "../src/pipeline/index.ts";
import { freezePolicy, openFrozenPolicy, parsePolicy } from "../src/policy/index.ts";
import { judgeOrder } from "../src/scram/index.ts";
import { parseJournalLine } from "../src/scram/journal.ts";
import { systemEntropy } from "../src/system/index.ts";
import { INSTALLATION, NOW, ScramKeys, signOrder, signReset } from "./support/scram-keys.ts";
import { PROMOTE, TRAIN, World } from "./support/world.ts";

const VECTORS = join(import.meta.dirname, "../../../test/vectors/evidence/genuine");
const JSON_CODES = ["MALFORMED", "TOO_DEEP", "DUPLICATE_KEY", "NOT_CANONICAL", "TOO_LARGE"].map(
  (one) => `ERR_JSON_${one}`,
);

let world: World;
let folder: string;
beforeAll(async () => {
  world = await World.create();
  folder = mkdtempSync(join(tmpdir(), "sov-bad-signed-"));
});
afterAll(() => {
  world.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** Each kind of signed statement that stands in genuine evidence: votes, receipts, proofs, keys. */
function statementsInEvidence(): Map<string, JsonValue> {
  const found = new Map<string, JsonValue>();
  for (const name of readdirSync(VECTORS).filter((one) => /^(exec|iron|batch).*json$/.test(one))) {
    const bundle = parseStrictJson(readFileSync(join(VECTORS, name)), { bytesMax: 1 << 28 });
    const { envelopes = {} } = bundle as { envelopes?: Record<string, Envelope> };
    for (const { payload } of Object.values(envelopes)) {
      const statement = parseStrictJson(base64Decode(payload)) as { predicateType: string };
      found.set(statement.predicateType, statement);
    }
  }
  return found;
}

const inEvidence = statementsInEvidence();
const statements = (
  [
    "key-event",
    "config-snapshot",
    "role-assignment",
    "policy-binding",
    "approval",
    "vote",
    "run-proof",
    "rollback-proof",
    "gate-receipt",
  ] as const
).map((kind): Door & { kind: PredicateName } => ({
  name: `signed ${kind}`,
  kind,
  genuine: inEvidence.get(predicateType(kind)) ?? null,
  form: "json",
  read: (bytes) => parseStatement(bytes, kind),
  codes: ["ERR_STATEMENT_MALFORMED"],
  places: 12,
}));

/** What an order of the kill switch says, signed by both people, whatever it is. */
function orderDoor(kind: "scram-order" | "scram-reset"): Door {
  const keys = new ScramKeys();
  const signers = [keys.operator, keys.architect] as const;
  const good =
    kind === "scram-order"
      ? signOrder(keys.order(), ...signers)
      : signReset(keys.reset(), ...signers);
  const context = { installationId: INSTALLATION, keys: keys.table, now: NOW };
  return {
    name: `signed ${kind}`,
    genuine: parseStrictJson(base64Decode(good.payload)),
    form: "json",
    read: (bytes) => {
      const envelope = signEnvelope(STATEMENT_PAYLOAD_TYPE, bytes, [...signers]);
      const { code, reason } = judgeOrder(kind, envelope, { ...context, usedNonces: new Set() });
      if (code !== null) throw new SovereignError(code, reason ?? "");
    },
    codes: ["MALFORMED", "INSTALLATION", "EXPIRED"].map((one) => `ERR_SCRAM_ORDER_${one}`),
    places: 12,
  };
}

describe("a signed document that is bad in one way", { timeout: 120_000 }, () => {
  it.each([...statements, orderDoor("scram-order"), orderDoor("scram-reset")])(
    "is refused with its place: $name",
    async (door) => {
      await door.read(canonicalBytes(door.genuine));
      const { cases, problems } = await badRefusals(door);
      expect(problems.slice(0, 20)).toEqual([]);
      expect(cases).toBeGreaterThan(100);
    },
  );
});

/** Ask the kernel with a permission whose statement is these bytes, signed by the right key. */
async function ask(part: "role" | "binding" | "approval", bytes: Uint8Array): Promise<Outcome> {
  const action = part === "approval" ? PROMOTE : TRAIN;
  const context = contextOf(part);
  const envelope = signEnvelope(STATEMENT_PAYLOAD_TYPE, bytes, [await signerOf(part)]);
  const { authorization, approvals } = await permitted;
  return world.kernel().execute({
    action,
    context,
    authorization: part === "approval" ? authorization : { ...authorization, [part]: envelope },
    approvals: part === "approval" ? [envelope, ...approvals] : [],
  });
}

const contextOf = (part: string) => world.context(part === "approval" ? { role: "deployer" } : {});
const signerOf = (part: "role" | "binding" | "approval"): Promise<Signer> =>
  part === "binding"
    ? world.authority.signer("binding", null)
    : world.authority.signer(part, part === "role" ? "trainer" : "safety_officer");

let permitted: Promise<{
  authorization: { role: Envelope; binding: Envelope };
  approvals: Envelope[];
}>;

describe("a permission whose statement is bad in one way", { timeout: 120_000 }, () => {
  it.each(["role", "binding", "approval"] as const)(
    "is a recorded refusal with its place, and no effect: %s",
    async (part) => {
      const action = part === "approval" ? PROMOTE : TRAIN;
      const context = contextOf(part);
      const authorization = await world.permission(action, context);
      const approvals =
        part === "approval" ? [await world.approve("release_manager", action, context)] : [];
      permitted = Promise.resolve({ authorization, approvals });
      const genuine =
        part === "approval"
          ? await world.approve("safety_officer", action, context)
          : authorization[part];
      world.effects = 0;
      const door: Door = {
        name: part,
        genuine: parseStrictJson(base64Decode(genuine.payload)),
        form: "json",
        read: async (bytes) => {
          if (Buffer.from(bytes).equals(Buffer.from(genuine.payload, "base64"))) return;
          const before = world.recorder.records.length;
          const outcome = await ask(part, bytes);
          if (outcome.status === "COMPLETED") return;
          // The kernel was asked: its refusal stands in the ledger, in the same words.
          const [record] = world.recorder.records.slice(before);
          expect(world.recorder.records).toHaveLength(before + 1);
          expect(record?.data).toMatchObject({ code: outcome.code, reason: outcome.reason });
          const { code, reason } =
            outcome.status === "PENDING" ? (outcome.leftOut[0] ?? outcome) : outcome;
          throw new SovereignError(code, reason);
        },
        codes: [
          "ERR_AUTHORITY_MALFORMED",
          ...["ACTION", "CONTEXT", "EXPIRED", "WRONG_KEY", "TENANT", "RUN", "POLICY"].flatMap(
            (one) => ["ROLE", "BINDING", "APPROVAL"].map((what) => `ERR_${what}_${one}`),
          ),
        ],
        places: 14,
      };
      const { cases, problems } = await badRefusals(door);
      expect(problems.slice(0, 20)).toEqual([]);
      expect(cases).toBeGreaterThan(100);
      expect(world.effects).toBe(0);
    },
  );
});

describe("a permission that a verifier would refuse later", () => {
  it.each(["role", "binding", "approval"] as const)(
    "is refused now: with a second signature, and about something else: %s",
    async (part) => {
      const action = part === "approval" ? PROMOTE : TRAIN;
      const context = contextOf(part);
      const authorization = await world.permission(action, context);
      const good =
        part === "approval"
          ? await world.approve("safety_officer", action, context)
          : authorization[part];
      const approvals =
        part === "approval" ? [await world.approve("release_manager", action, context)] : [];
      const [first] = good.signatures;
      if (first === undefined) throw new Error("no signature");
      const statement = parseStrictJson(base64Decode(good.payload)) as JsonObject;
      const about = { name: "another", digest: { sha256: "0".repeat(64) } };
      const again = async (subject: JsonObject[]): Promise<Envelope> => {
        const bytes = canonicalBytes({ ...statement, subject });
        return signEnvelope(STATEMENT_PAYLOAD_TYPE, bytes, [await signerOf(part)]);
      };
      const [subject] = statement["subject"] as JsonObject[];
      const bad = [
        { ...good, signatures: [first, first] },
        { ...good, signatures: [first, { keyid: "x", sig: first.sig }] },
        await again([about]),
        await again([subject ?? {}, about]),
        await again([{ ...subject, name: "another" }]),
        await again([{ ...subject, digest: { sha256: "0".repeat(64) } }]),
      ];
      world.effects = 0;
      for (const envelope of bad) {
        const outcome = await world.kernel().execute({
          action,
          context,
          authorization:
            part === "approval" ? authorization : { ...authorization, [part]: envelope },
          approvals: part === "approval" ? [envelope, ...approvals] : [],
        });
        const code =
          outcome.status === "PENDING"
            ? outcome.leftOut[0]?.code
            : outcome.status === "COMPLETED" || outcome.code;
        expect(code).toBe("ERR_AUTHORITY_MALFORMED");
      }
      expect(world.effects).toBe(0);
    },
  );
});

/** Cedar is text of its own: each of these is no policy, and is said to be none where it stands. */
const PERMIT = `@id("one") permit(principal, action, resource) when { context.tenant == "b" };`;
const CEDAR: readonly [string, Uint8Array | string][] = [
  ["a zero byte", `${PERMIT}\0`],
  ["a control character", PERMIT.replace("when", "wh\u0001en")],
  ["half of a surrogate pair", Buffer.from([...Buffer.from(PERMIT), 0xed, 0xa0, 0x80])],
  ["an overlong letter", Buffer.from([...Buffer.from(PERMIT), 0xc1, 0xa1])],
  ["UTF-16, little end first", Buffer.from(`\ufeff${PERMIT}`, "utf16le")],
  ["UTF-16, big end first", Buffer.from(`\ufeff${PERMIT}`, "utf16le").swap16()],
  ["Latin-1", Buffer.from(PERMIT.replace("b", "\u00e9"), "latin1")],
  ["a text without its end", PERMIT.replace('"b"', '"b')],
  ["an escape that is none", PERMIT.replace('"b"', '"\\q"')],
  ["a surrogate as an escape", PERMIT.replace('"b"', '"\\u{d800}"')],
  ["a number beyond 64 bits", PERMIT.replace('"b"', "9223372036854775808")],
  ["a fraction", PERMIT.replace('"b"', "1.5")],
  ["no principal", PERMIT.replace("principal, ", "")],
  ["no action", PERMIT.replace("action, ", "")],
  ["no resource", PERMIT.replace(", resource", "")],
  ["no end", PERMIT.replace("};", "}")],
  ["no effect", PERMIT.replace("permit", "")],
  ["another effect", PERMIT.replace("permit", "allow")],
  ["an annotation twice", `@id("two") ${PERMIT}`],
  ["one id twice", `${PERMIT}\n${PERMIT}`],
  // As a key of a plain object it would vanish, and with it a rule that forbids.
  ["the id __proto__", `${PERMIT}\n@id("__proto__") forbid(principal, action, resource);`],
  ["an unknown word", PERMIT.replace("when", "where")],
  ["an empty condition", PERMIT.replace('context.tenant == "b"', "")],
  ["JSON", '{"policy_id":"x"}'],
  ["more behind its end", `${PERMIT} {}`],
  ["a million characters", PERMIT.replace('"b"', `"${"x".repeat(1_100_000)}"`)],
];

describe("a Cedar policy that is bad in one way", () => {
  it.each(CEDAR)("is refused in one clean line, with its file: %s", (_name, text) => {
    const refused = (): unknown => parsePolicy(Buffer.from(text), "rules.cedar");
    let message = "";
    try {
      refused();
    } catch (error) {
      expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_POLICY_/) as string });
      message = (error as Error).message;
    }
    expect(message).toMatch(/^rules\.cedar: ?/);
    expect(message).not.toMatch(/[\u0000-\u001f\ud800-\udfff]/);
    expect(message.length).toBeLessThan(700);
    // Nothing of it harms the policy that is read next.
    expect(parsePolicy(Buffer.from(PERMIT), "good.cedar").rules).toHaveProperty("one");
  });
});

/** Replace the one file of a registry's only model, and ask for what is current. */
async function registryDoor(): Promise<Door> {
  const at = join(folder, "registry");
  const registry = createModelRegistry({ folder: at, clock: world.clock, entropy: systemEntropy });
  const bytes = Buffer.from("a model");
  const asked = { digest: sha256Hex(bytes), bytes, expectedCurrent: null };
  await registry.promote({
    model: "m",
    runId: `run_${"a".repeat(20)}`,
    idempotencyKey: "k",
    ...asked,
  });
  const path = join(at, "models/m/000000001.json");
  return {
    name: "record of the model registry",
    genuine: parseStrictJson(readFileSync(path)),
    form: "json",
    read: async (changed) => {
      writeFileSync(path, changed);
      await registry.current("m");
    },
    codes: ["ERR_REGISTRY_CORRUPT"],
  };
}

async function keyFileDoor(): Promise<Door> {
  const at = join(folder, "keys");
  await mkdir(at, { mode: 0o700 });
  const store = await Keystore.open({ folder: at, passphrase: null });
  const record = await store.create("role", "trainer", { notBefore: NOW, notAfter: null });
  await store.settle((id) => id === record.key_id, Date.parse(NOW));
  const [name = ""] = readdirSync(at);
  const path = join(at, name);
  return {
    name: "key file",
    genuine: parseStrictJson(readFileSync(path)),
    form: "json",
    read: async (changed) => {
      writeFileSync(path, changed);
      const opened = await Keystore.open({ folder: at, passphrase: null });
      const [stray] = await opened.strays();
      if (stray !== undefined) throw new SovereignError("ERR_KEY_FILE_MALFORMED", stray.why);
      await opened.signer(record.key_id);
    },
    codes: ["ERR_KEY_FILE_MALFORMED", "ERR_KEY_NOT_FOUND", "ERR_KEY_PASSPHRASE"],
  };
}

const line = {
  sequence: 0,
  at: NOW,
  event: "scram.tripped",
  data: { reason: "x" },
  previous_hash: "0".repeat(64),
};

describe("a file of ours that is bad in one way", { timeout: 120_000 }, () => {
  it.each<[string, () => Door | Promise<Door>]>([
    ["record of the model registry", registryDoor],
    ["key file", keyFileDoor],
    [
      "line of the kill switch's journal",
      () => ({
        name: "journal",
        genuine: line,
        form: "json",
        read: (bytes) => parseJournalLine(Buffer.from(bytes).toString("latin1")),
        codes: [...JSON_CODES, "ERR_FORMAT_INVALID"],
      }),
    ],
    [
      "frozen policy",
      () => ({
        name: "policy.json",
        genuine: freezePolicy(
          parsePolicy(
            readFileSync(join(VECTORS, "../../../../examples/exec/policy.json")),
            "p.json",
          ),
        ),
        form: "json",
        read: (bytes) => openFrozenPolicy(bytes, "policy.json"),
        codes: [...JSON_CODES, "ERR_POLICY_INVALID"],
        places: 12,
      }),
    ],
  ])("is refused with its place: %s", async (_name, make) => {
    const door = await make();
    await door.read(canonicalBytes(door.genuine));
    const { cases, problems } = await badRefusals(door);
    expect(problems.slice(0, 20)).toEqual([]);
    expect(cases).toBeGreaterThan(60);
  });
});
