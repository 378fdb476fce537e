import {
  digestOf,
  type JsonObject,
  type JsonValue,
  type KeyPurpose,
  type PlacedEntry,
  type Statement,
} from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EvidenceWorld } from "../support/evidence.ts";
import { Forgery } from "../support/forger.ts";
import { bundleOf, executionWorld } from "../support/vector-world.ts";

let made: EvidenceWorld;
let genuine: Awaited<ReturnType<typeof bundleOf>>;
let trustRoot: Uint8Array;
beforeAll(async () => {
  made = await executionWorld();
  genuine = await bundleOf(made);
  trustRoot = made.trustRoot();
});
afterAll(() => {
  made.dispose();
});

const forgery = (): Forgery =>
  new Forgery(genuine, (purpose, role) => made.world.authority.signer(purpose, role));

interface Judged {
  readonly verdict: string;
  /** `step place` of the first failure of each step that fails. */
  readonly at: readonly string[];
}

function judge(one: Forgery): Judged {
  const report = verifyBundle(one.bytes(), { trustRoot });
  const at = report.steps.flatMap(({ name, first_failure: failure }) =>
    failure === null ? [] : [`${name} ${failure.place}`],
  );
  return { verdict: report.verdict, at };
}

type Body = Statement & { predicate: JsonObject };
type Change = (root: JsonObject) => void;
type Path = readonly (string | number)[];

const at = (root: JsonValue, path: Path): JsonObject =>
  path.reduce<JsonValue>((value, key) => (value as JsonObject)[key] ?? null, root) as JsonObject;

/** Each way to change one place of a document: its value, its key, its neighbours. */
function* changesOf(root: JsonObject, path: Path = []): Generator<[string, Change]> {
  const here = at(root, path);
  const where = path.join(".");
  const inside = (key: string | number): string => (where === "" ? `${key}` : `${where}.${key}`);
  const keys: (string | number)[] = Array.isArray(here) ? ends(here) : Object.keys(here);
  for (const key of keys) {
    const value = (here as Record<string | number, JsonValue>)[key] ?? null;
    yield [`${inside(key)} changed`, (into) => void (at(into, path)[key] = other(value))];
    yield [`${inside(key)} null`, (into) => void (at(into, path)[key] = null)];
    yield [
      `${inside(key)} dropped`,
      (into) => {
        remove(at(into, path), key);
      },
    ];
    if (typeof value === "object" && value !== null) yield* changesOf(root, [...path, key]);
  }
  if (Array.isArray(here)) {
    const list = (into: JsonObject): JsonValue[] => at(into, path) as unknown as JsonValue[];
    yield [`${where} emptied`, (into) => void list(into).splice(0)];
    yield [`${where} turned around`, (into) => void list(into).reverse()];
    yield [`${where} with the first twice`, (into) => void list(into).unshift(list(into)[0] ?? 0)];
  } else yield [`${inside("more")} added`, (into) => void (at(into, path)["more"] = "x")];
}

/** Those changes that change something. */
function* realChanges(root: JsonObject): Generator<[string, Change]> {
  for (const [what, change] of changesOf(root)) {
    const into = structuredClone(root);
    change(into);
    if (digestOf(into) !== digestOf(root)) yield [what, change];
  }
}

/** The first, one between and the last: the others are read by the same rule. */
function ends(list: readonly unknown[]): number[] {
  return [...new Set([0, list.length >> 1, list.length - 1])].filter((one) => one >= 0);
}

function remove(from: JsonObject, key: string | number): void {
  if (Array.isArray(from)) from.splice(Number(key), 1);
  else Reflect.deleteProperty(from, key);
}

/** Another value of the same form, so that no schema refuses it. */
function other(value: JsonValue): JsonValue {
  if (typeof value === "number") return value + 1;
  if (typeof value === "boolean") return !value;
  if (typeof value !== "string") return "x";
  const known: Record<string, string> = { PASS: "FAIL", FAIL: "PASS", pass: "fail", fail: "pass" };
  if (Object.hasOwn(known, value)) return known[value] ?? "";
  if (/^\d{4}-.*Z$/.test(value)) return "2020-01-01T00:00:00.000Z";
  if (/^[0-9a-f]+$/.test(value)) return value.replace(/^./, value.startsWith("1") ? "2" : "1");
  return value.startsWith("run_") ? `run_${"b".repeat(20)}` : `${value}x`;
}

/** A statement of the bundle that is attacked field by field. */
interface Attacked {
  readonly find: (one: Forgery) => PlacedEntry;
  readonly name: string;
  readonly by: readonly [KeyPurpose, string | null];
  /** What its subject has to be for what it now says, so that another rule must find it. */
  readonly subject: (body: Body) => void;
  /** What its signer alone says, and nothing else knows: only a thief of that key changes it. */
  readonly free: readonly string[];
}

const RECEIPT: Attacked = {
  find: (one) => one.entry("attestation.issued", 1),
  name: "receipt",
  by: ["attestation", null],
  subject: ({ subject, predicate }) => {
    const [about] = subject;
    if (about === undefined) return;
    about.name = typeof predicate["run_id"] === "string" ? predicate["run_id"] : "";
    about.digest.sha256 = digestOf(predicate["results"] ?? null);
  },
  free: ["evaluated_at changed"],
};

const APPROVAL: Attacked = {
  find: (one) => one.entry("execution.authorized", 1),
  name: "approval_1",
  by: ["approval", "release_manager"],
  subject: ({ subject, predicate }) => {
    const sha256 = predicate["action_digest"];
    if (subject[0] !== undefined && typeof sha256 === "string") subject[0].digest.sha256 = sha256;
  },
  free: ["issued_at changed", "nonce changed"],
};

const ATTACKED: readonly [string, Attacked][] = [
  ["a gate receipt", RECEIPT],
  ["an approval", APPROVAL],
];

function predicateOf({ find, name }: Attacked): JsonObject {
  const one = forgery();
  return structuredClone(one.statement(find(one), name).predicate) as JsonObject;
}

describe("each field of a statement", { timeout: 60_000 }, () => {
  it.each(ATTACKED)("is held by a rule of its own, whoever signs: %s", async (_name, attacked) => {
    const { find, name, by, subject, free } = attacked;
    const accepted: string[] = [];
    let tried = 0;
    for (const [what, change] of realChanges(predicateOf(attacked))) {
      const one = forgery();
      const entry = find(one);
      const place = `entries[${one.bundle.entries.indexOf(entry)}]`;
      await one.resign(
        entry,
        name,
        (body) => {
          change(body.predicate);
          subject(body);
        },
        by,
      );
      await one.rebuild();
      const judged = judge(one);
      tried += 1;
      if (judged.verdict === "VALID") accepted.push(what);
      else {
        expect({ what, verdict: judged.verdict }).toEqual({ what, verdict: "INVALID" });
        for (const found of judged.at) expect(`${what}: ${found}`).toContain(place);
      }
    }
    expect(accepted).toEqual(free);
    expect(tried).toBeGreaterThan(15);
  });

  it.each(ATTACKED)("is held by its signature, without that key: %s", async (_name, attacked) => {
    const { find, name } = attacked;
    for (const [what, change] of realChanges(predicateOf(attacked))) {
      const one = forgery();
      const entry = find(one);
      const place = `entries[${one.bundle.entries.indexOf(entry)}].envelopes.${name}`;
      const envelope = structuredClone(one.envelope(entry, name));
      const body = structuredClone(one.statement(entry, name)) as Body;
      change(body.predicate);
      envelope.payload = Buffer.from(JSON.stringify(body)).toString("base64");
      one.put(entry, name, envelope);
      await one.rebuild();
      const { verdict, at: places } = judge(one);
      expect({ what, verdict }).toEqual({ what, verdict: "INVALID" });
      expect(places[0]).toBe(`signature_authority_map ${place}`);
    }
  });
});

describe("a whole statement", () => {
  const rebuilt = async (change: (one: Forgery) => void | Promise<void>): Promise<Judged> => {
    const one = forgery();
    await change(one);
    await one.rebuild();
    return judge(one);
  };
  const receiptAt = (): number => {
    const one = forgery();
    return one.bundle.entries.indexOf(RECEIPT.find(one));
  };

  it("of gates is INVALID where it is left out, stands twice or is of another run", async () => {
    const index = receiptAt();
    const dropped = await rebuilt((one) => void one.bundle.entries.splice(index, 1));
    expect(dropped).toEqual({ verdict: "INVALID", at: ["attestation gate_receipt"] });
    const twice = await rebuilt((one) => {
      one.bundle.entries.splice(index, 0, structuredClone(one.at(index)));
    });
    expect(twice).toEqual({ verdict: "INVALID", at: [`attestation entries[${index + 1}]`] });
    const another = await executionWorld();
    const foreign = new Forgery(await bundleOf(another), () => Promise.reject(new Error("no key")));
    const elsewhere = await rebuilt((one) => {
      one.put(RECEIPT.find(one), "receipt", foreign.envelope(foreign.at(index), "receipt"));
    });
    another.dispose();
    expect(elsewhere.verdict).toBe("INVALID");
    expect(elsewhere.at[0]).toBe(`signature_authority_map entries[${index}].envelopes.receipt`);
  });

  it("of people is INVALID where it is left out, stands twice or is another's", async () => {
    const named = (one: Forgery): JsonObject =>
      APPROVAL.find(one).entry.data["envelopes"] as JsonObject;
    const place = "policy_resolution_trace entries[4]";
    const cases: [(one: Forgery) => void, string][] = [
      [(one) => delete named(one)["approval_2"], place],
      [(one) => delete named(one)["approval_1"], place],
      [
        (one) => (named(one)["approval_2"] = named(one)["approval_1"] ?? ""),
        "signature_authority_map entries[4].envelopes",
      ],
      [(one) => (named(one)["approval_3"] = named(one)["approval_1"] ?? ""), ""],
      [(one) => (named(one)["approval_1"] = named(one)["role"] ?? ""), ""],
    ];
    for (const [change, where] of cases) {
      const { verdict, at: places } = await rebuilt((one) => {
        const entry = APPROVAL.find(one).entry;
        entry.data = structuredClone(entry.data);
        change(one);
      });
      expect(verdict).toBe("INVALID");
      if (where !== "") expect(places[0]).toBe(where);
    }
  });
});

describe("the record of an approval that was given apart", () => {
  /** Put in where a person gives it: before the action that it is for. */
  async function granted(change: Change): Promise<Judged> {
    const one = forgery();
    const step = APPROVAL.find(one);
    const { action_digest, key_epoch, envelopes } = step.entry.data;
    const data: JsonObject = {
      approver: "release_manager",
      action_digest: action_digest ?? "",
      key_epoch: key_epoch ?? 0,
      envelopes: { approval: (envelopes as JsonObject)["approval_1"] ?? "" },
      given_at: step.entry.timestamp,
    };
    change(data);
    const entry = { ...step.entry, event_type: "approval.granted", data };
    one.bundle.entries.splice(4, 0, { index: 0, hash: "", entry });
    await one.rebuild();
    return judge(one);
  }

  it("is held to its envelope in each field; the time alone is its writer's word", async () => {
    expect(await granted(() => undefined)).toEqual({ verdict: "VALID", at: [] });
    const { action_digest, envelopes } = APPROVAL.find(forgery()).entry.data;
    const second = (envelopes as JsonObject)["approval_2"] ?? "";
    const envelope = { approval: second };
    const data = { action_digest: action_digest ?? "", key_epoch: 1, envelopes: envelope };
    const free: string[] = [];
    for (const [what, change] of realChanges({
      ...data,
      approver: "release_manager",
      given_at: "",
    })) {
      if (what.startsWith("given_at changed") || what === "key_epoch changed") continue;
      const { verdict, at: places } = await granted(change);
      if (verdict === "VALID") free.push(what);
      else expect(`${what}: ${places.join(", ")}`).toContain("entries[4]");
    }
    expect(free).toEqual(["more added"]);
    const another = await granted((into) => (into["envelopes"] = { approval: second }));
    expect(another).toEqual({ verdict: "INVALID", at: ["policy_resolution_trace entries[4]"] });
    for (const epoch of [0, 999]) {
      const { verdict } = await granted((into) => (into["key_epoch"] = epoch));
      expect(verdict).toBe("INVALID");
    }
  });
});
