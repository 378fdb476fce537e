import {
  ACTIONS,
  digestOf,
  errorCatalogue,
  formats,
  GATES,
  NAMED_PURPOSES,
  policyFace,
  predicates,
} from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { INSTALLATION_KEYS } from "../../src/authority/index.ts";
import type { Outcome } from "../../src/kernel/index.ts";
import { harm } from "../support/harm.ts";
import { expectLaw, FORBIDDEN, requestFor, witness } from "../support/kernel-law.ts";
import { PROMOTE, TRAIN, World } from "../support/world.ts";

let world: World;
const { effects } = witness();
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => {
  world.dispose();
});

describe("what leaves the kernel and what it works with", () => {
  const outcomes: [string, () => Promise<Outcome>][] = [
    ["COMPLETED", async () => world.kernel({ effects }).execute(await requestFor(world, TRAIN))],
    [
      "DENIED",
      () =>
        world.kernel().execute({
          action: FORBIDDEN,
          context: world.context(),
          authorization: null,
          approvals: [],
        }),
    ],
    [
      "PENDING",
      async () => world.kernel().execute({ ...(await requestFor(world, PROMOTE)), approvals: [] }),
    ],
    [
      "BLOCKED",
      async () =>
        world.kernel().execute({ ...(await requestFor(world, TRAIN)), authorization: null }),
    ],
  ];
  it.each(outcomes)("is an outcome that nobody changes: %s", async (status, ask) => {
    const outcome = await ask();
    expect(outcome.status).toBe(status);
    const before = structuredClone(outcome);
    expect(harm(outcome)).toBe(0);
    expect(outcome).toEqual(before);
    await expectLaw(world);
  });

  const held: [string, () => unknown][] = [
    ["the table of keys", () => world.keyLog.current()],
    ["the keys' windows", () => world.keyLog.current().windows],
    ["one key", () => world.keyLog.current().get(world.keyIdOf("approval", "intruder"))],
    ["the keys in force", () => world.keyLog.current().valid("binding", null, 99, "2026-06-01")],
    ["the head of the key log", () => world.keyLog.head()],
    ["the key log's events", () => world.keyLog.events],
    ["a trust root", () => world.keyLog.trustRoot()],
    ["a decision", () => world.policy.decide(FORBIDDEN, world.context())],
    ["a policy", () => world.policy.policy],
    ["an engine", () => world.policy],
    ["an explanation", () => world.policy.explain(FORBIDDEN, world.context())],
    ["a record", () => world.recorder.records],
    ["a kernel", () => world.kernel({ effects })],
    ["what codes mean", () => errorCatalogue],
    ["what policy matches", () => Object.keys(ACTIONS).map((type) => policyFace(type))],
    ["who has a name", () => NAMED_PURPOSES],
    ["an installation's keys", () => INSTALLATION_KEYS],
  ];
  it("changes no later decision, whatever of it is changed", async () => {
    for (const [name, hold] of held) {
      await world.kernel({ effects }).execute(await requestFor(world, TRAIN));
      world.policy.decide(FORBIDDEN, world.context());
      harm(hold());
      await world.keyLog.refresh();
      await expectLaw(world).catch((cause: unknown) => {
        throw new Error(`after harm to ${name}`, { cause });
      });
    }
  });

  it("is a signer that signs with its own key, whoever holds it", async () => {
    const signer = await world.authority.signer("binding", null);
    const { keyId } = signer.publicKey;
    expect(harm(signer.publicKey)).toBeGreaterThan(0);
    expect(() => Object.assign(signer, { sign: () => new Uint8Array(64) })).toThrow(TypeError);
    expect((await world.authority.signer("binding", null)).publicKey.keyId).toBe(keyId);
    await expectLaw(world);
  });

  it("is a table in which nothing is put in the place of another", () => {
    const [gate] = GATES;
    const promote = ACTIONS["model.promote"];
    for (const table of [formats, predicates, ACTIONS, promote, GATES, gate]) {
      expect(Object.isFrozen(table)).toBe(true);
    }
  });

  it("is what was asked for when a statement was, while its key is opened", async () => {
    const context = world.context();
    const subjects = [{ name: "action", sha256: digestOf(TRAIN) }];
    const predicate = {
      approver: "release_manager",
      action_digest: digestOf(TRAIN),
      context_digest: digestOf(context),
      nonce: "0".repeat(32),
      issued_at: "2026-01-01T00:00:00.000Z",
      expires_at: "2026-01-01T00:01:00.000Z",
    };
    const asked = world.authority.issue(
      "approval",
      subjects,
      predicate,
      "approval",
      "release_manager",
    );
    harm(subjects);
    predicate.action_digest = digestOf(PROMOTE);
    const said = Buffer.from((await asked).payload, "base64").toString();
    expect(said).toContain(digestOf(TRAIN));
    expect(said).not.toContain(digestOf(PROMOTE));
    expect(said).not.toContain("harmed");
  });
});
