import { isSameHolder, type KeyPurpose, SovereignError } from "@sovereign/core";

interface Holder {
  readonly purpose: KeyPurpose;
  readonly role: string | null;
}

/**
 * Where two people are asked, one person does not get both keys; and nobody gets a name that a
 * reader takes for another's.
 *
 * @param known whose keys are in force
 * @param added who is to get one
 * @throws ERR_KEY_HOLDER
 */
export function refuseOneHolder(known: readonly Holder[], added: readonly Holder[]): void {
  const before = [...known];
  for (const one of added) {
    for (const other of before) refusePair(one, other);
    before.push(one);
  }
}

function refusePair(one: Holder, other: Holder): void {
  if (one.role === null || other.role === null || !isSameHolder(one.role, other.role)) return;
  const both = [one.purpose, other.purpose];
  if (both.includes("operator") && both.includes("architect")) {
    throw refused(
      one,
      other,
      "An operator and an architect must be two different people: name another one.",
    );
  }
  if (one.purpose === "approval" && other.purpose === "approval" && one.role !== other.role) {
    throw refused(
      one,
      other,
      "Approvers are counted by their names: choose one that differs more.",
    );
  }
}

function refused(one: Holder, other: Holder, rule: string): SovereignError {
  const text = `The ${one.purpose} key of ${String(one.role)} would be held by the same person as the ${other.purpose} key of ${String(other.role)}. ${rule}`;
  return new SovereignError("ERR_KEY_HOLDER", text, { holder: one.role, other: other.role });
}
