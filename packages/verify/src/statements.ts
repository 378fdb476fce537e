import {
  digestOf,
  type JsonObject,
  type KeyPurpose,
  type PlacedEntry,
  type Predicate,
  type PredicateName,
  type Statement,
} from "@sovereign/core";
import { expectEqual, wrong } from "./step-recorder.ts";

/** Who must have signed a statement. */
export interface Authority {
  readonly purpose: KeyPurpose;
  readonly role: string | null;
}

/** What a statement of one kind must be about; null for a name that is judged later. */
interface Subject {
  readonly name: string | null;
  readonly sha256: string;
}

interface Kind<K extends PredicateName> {
  readonly authority: (predicate: Predicate<K>) => Authority;
  readonly subject: (predicate: Predicate<K>, entry: PlacedEntry) => Subject;
}

export const ATTESTATION: Authority = { purpose: "attestation", role: null };

/** Every kind of statement that a run's entries name, with its signer and its one subject. */
export const STATEMENT_KINDS = {
  "config-snapshot": {
    authority: () => ({ purpose: "config", role: null }),
    subject: (one) => ({ name: one.run_id, sha256: one.config_digest }),
  } satisfies Kind<"config-snapshot">,
  "role-assignment": {
    authority: ({ role }) => ({ purpose: "role", role }),
    subject: (one, entry) => ({ name: actionOf(entry), sha256: one.action_digest }),
  } satisfies Kind<"role-assignment">,
  "policy-binding": {
    authority: () => ({ purpose: "binding", role: null }),
    subject: (one, entry) => ({ name: actionOf(entry), sha256: one.action_digest }),
  } satisfies Kind<"policy-binding">,
  approval: {
    authority: ({ approver }) => ({ purpose: "approval", role: approver }),
    subject: (one) => ({ name: "action", sha256: one.action_digest }),
  } satisfies Kind<"approval">,
  vote: {
    authority: ({ role }) => ({ purpose: "role", role }),
    subject: (one) => ({ name: null, sha256: one.output_digest }),
  } satisfies Kind<"vote">,
  "rollback-proof": {
    authority: () => ATTESTATION,
    subject: (one) => ({ name: one.model, sha256: one.after }),
  } satisfies Kind<"rollback-proof">,
  "gate-receipt": {
    authority: () => ATTESTATION,
    subject: (one) => ({ name: one.run_id, sha256: digestOf(one.results) }),
  } satisfies Kind<"gate-receipt">,
  "tool-task": {
    authority: ({ role }) => ({ purpose: "role", role }),
    subject: (one) => ({ name: one.tool_task_pack_id, sha256: one.sha256 }),
  } satisfies Kind<"tool-task">,
  "tool-result": {
    authority: () => ATTESTATION,
    subject: (one) => ({ name: one.tool_result_pack_id, sha256: one.sha256 }),
  } satisfies Kind<"tool-result">,
  "run-proof": {
    authority: () => ({ purpose: "seal", role: null }),
    subject: (one) => ({ name: one.run_id, sha256: one.head }),
  } satisfies Kind<"run-proof">,
};

export type RunStatement = keyof typeof STATEMENT_KINDS;

/** @throws ERR_VERIFY_INVALID unless it is about exactly that */
export function expectSubject(found: Statement["subject"], expected: Subject): void {
  const [first, ...others] = found;
  if (first === undefined || others.length > 0) {
    throw wrong(`The statement has ${found.length} subjects; expected one.`);
  }
  if (expected.name !== null) expectEqual(first.name, expected.name, "The statement's subject");
  expectEqual(first.digest.sha256, expected.sha256, "The digest of the statement's subject");
}

function actionOf({ entry }: PlacedEntry): string {
  const { type } = (entry.data["action"] ?? {}) as JsonObject;
  return `action:${typeof type === "string" ? type : ""}`;
}
