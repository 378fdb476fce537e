import type { JsonObject } from "@sovereign/core";
import type { Forgery } from "../../packages/runtime/test/support/forger.ts";
import { all, edit, inEpoch, inside, nothing, type Row, sealed } from "./row.ts";

/**
 * What a run without authority would leave: each by somebody who holds nothing, the keys that seal and
 * head, and where a signature can say it, all keys.
 */

type Change = (forgery: Forgery) => void;

/** The first action needs no consent, the second that of two people. */
export const CONSENTED = 1;

const withoutKeys = (name: string, change: Change, base: Row["base"] = "pipeline"): Row => ({
  ...nothing(`${name}, all made to fit`, (one) => {
    change(one);
    one.rechain();
    one.remanifest();
  }),
  base,
});

const byBoth = (name: string, change: Change, base: Row["base"] = "pipeline"): Row[] => [
  withoutKeys(name, change, base),
  sealed(name, change, base),
];

/** The effect happened, and is recorded as one that failed. */
const failed = (one: Forgery, nth: number): void => {
  const placed = one.entry("execution.completed", nth);
  const { action_digest, attempt, step_id } = placed.entry.data;
  const reason = "its process was killed";
  const data = { action_digest, attempt, step_id, code: "ERR_EFFECT_KILLED", reason };
  placed.entry = { ...placed.entry, event_type: "execution.failed", data: data as JsonObject };
};

/** What was refused is authorised, by the permission of another action. */
const refusedAndDone: Change = (one) => {
  const at = one.bundle.entries.indexOf(one.entry("execution.pending"));
  const other = structuredClone(one.entry("execution.authorized").entry);
  const { step_id, decision } = one.at(at).entry.data;
  inside(other.data, "context")["step_id"] = step_id ?? null;
  other.data["decision"] = { ...(decision as JsonObject), effect: "allow" };
  one.bundle.entries.splice(at, 1, { ...one.at(at), entry: other });
};

const withoutConsent: Change = (one) => {
  edit(
    one,
    "execution.authorized",
    (data) => {
      delete inside(data, "envelopes")["approval_1"];
      delete inside(data, "envelopes")["approval_2"];
    },
    CONSENTED,
  );
};

/** The key of bindings says what the decision says now. @returns the entry */
export async function rebind(one: Forgery): Promise<ReturnType<Forgery["entry"]>> {
  const step = one.entry("execution.authorized", CONSENTED);
  const { decision } = step.entry.data;
  await one.resign(step, "binding", ({ predicate }) => (predicate["decision"] = decision ?? null), [
    "binding",
    null,
  ]);
  return step;
}

const askedForOne: Change = (one) => {
  withoutConsent(one);
  edit(
    one,
    "execution.authorized",
    (data) => {
      data["decision"] = { ...inside(data, "decision"), effect: "allow", approvals: null };
    },
    CONSENTED,
  );
};

const onePersonTwice: Change = (one) => {
  const step = one.entry("execution.authorized", CONSENTED);
  one.put(step, "approval_2", one.envelope(step, "approval_1"));
};

const laterEpoch: Change = (one) => {
  edit(
    one,
    "execution.authorized",
    (data) => (data["key_epoch"] = one.bundle.key_log.length + 1),
    CONSENTED,
  );
};

const longReason: Change = (one) => {
  edit(one, "execution.pending", (data) => (data["reason"] = "x".repeat(2001)));
};

const undecided: Change = (one) => {
  edit(one, "execution.authorized", (data) => delete data["decision"]);
};

export const WITHOUT_AUTHORITY: readonly Row[] = [
  ...byBoth("a rollback that happened and is said to have failed", (one) => {
    failed(one, 5);
  }),
  withoutKeys("an effect that happened and is said to have failed", (one) => {
    failed(one, 1);
  }),
  // Only these two keys stand behind how an action ended.
  {
    ...sealed("an effect that happened and is said to have failed", (one) => {
      failed(one, 1);
    }),
    verdict: "VALID",
  },
  ...byBoth("an action that was refused, and done by the permission of another", refusedAndDone),
  withoutKeys("approvals that were emptied after the decision", withoutConsent),
  ...byBoth("a decision that asks nobody any more", askedForOne),
  withoutKeys("one person's consent counted twice", onePersonTwice),
  withoutKeys("a signature in an epoch that the key log has not reached", laterEpoch),
  ...byBoth("a refusal whose reason is longer than a reason may be", longReason),
  ...byBoth("an action that nobody decided on", undecided),
  withoutKeys("a refusal left out", (one) => {
    one.bundle.entries.splice(one.bundle.entries.indexOf(one.entry("execution.pending")), 1);
  }),

  // As with any other decision: the key of bindings says what policy decided.
  {
    ...all("a decision that asks nobody any more, signed anew", async (one) => {
      askedForOne(one);
      await rebind(one);
    }),
    verdict: "VALID",
  },
  all("an approval that had expired", async (one) => {
    await one.resign(
      one.entry("execution.authorized", CONSENTED),
      "approval_2",
      ({ predicate }) => (predicate["expires_at"] = "2020-01-01T00:00:00.000Z"),
      ["approval", "safety_officer"],
    );
  }),
  all("an approval that is given before it begins", async (one) => {
    await one.resign(
      one.entry("execution.authorized", CONSENTED),
      "approval_2",
      ({ predicate }) => {
        predicate["issued_at"] = "2099-01-01T00:00:00.000Z";
        predicate["expires_at"] = "2099-01-02T00:00:00.000Z";
      },
      ["approval", "safety_officer"],
    );
  }),
  all("an approval of another context", async (one) => {
    await one.resign(
      one.entry("execution.authorized", CONSENTED),
      "approval_2",
      ({ predicate }) => (predicate["context_digest"] = "9".repeat(64)),
      ["approval", "safety_officer"],
    );
  }),
  all("a permission signed after its key was revoked", async (one) => {
    await one.appendKeyEvent("revoked", () => undefined);
    inEpoch(one, one.bundle.key_log.length);
  }),
  all("an action that was refused, and permitted for another step", async (one) => {
    refusedAndDone(one);
    const step = one.entry("execution.authorized", 1);
    const { decision } = step.entry.data;
    await one.resign(
      step,
      "binding",
      ({ predicate }) => (predicate["decision"] = decision ?? null),
      ["binding", null],
    );
  }),
];
