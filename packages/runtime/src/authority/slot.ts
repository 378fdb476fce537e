import {
  type KeyPurpose,
  type KeyTable,
  type KeyWindow,
  NAMED_PURPOSES,
  SovereignError,
} from "@sovereign/core";

/** A role or an approver that gets a key of its own, or one of the installation's purposes. */
export interface KeySlot {
  readonly purpose: KeyPurpose;
  readonly role: string | null;
  /** Until when it is good; null or absent for no end. */
  readonly notAfter?: string | null;
}

/** How a person names it: `seal`, `role:trainer`, `approver:release_manager`, `operator:alice`. */
export function slotText({ purpose, role }: KeySlot): string {
  const word = purpose === "approval" ? "approver" : purpose;
  return role === null ? word : `${word}:${role}`;
}

/** True for a key of this purpose (and role), whatever became of it. */
export function isOfSlot({ record }: KeyWindow, { purpose, role }: KeySlot): boolean {
  return record.purpose === purpose && record.role === role;
}

/**
 * A second key of one purpose and name would sign beside the first, unseen. A root key is an
 * exception: a spare one is how an installation outlives the loss of the other.
 *
 * @param known whose keys are in force
 * @param added who is to get one
 * @throws ERR_KEY_IN_FORCE with what to type instead
 */
export function refuseSecond(known: readonly KeySlot[], added: readonly KeySlot[]): void {
  const before = [...known];
  for (const slot of added) {
    const same = ({ purpose, role }: KeySlot): boolean =>
      purpose === slot.purpose && role === slot.role;
    if (slot.purpose !== "root" && before.some(same)) throw inForce(slot);
    before.push(slot);
  }
}

function inForce(slot: KeySlot): SovereignError {
  const name = slotText(slot);
  const add = `sovereign keys add --${name.replace(":", " ")} --another`;
  const beside = slot.role === null ? "" : `. For a second key beside it: ${add}`;
  const text = `A key of ${name} is in force already, or asked for twice, so none was made. Put another in its place with: sovereign keys replace ${name}${beside}`;
  return new SovereignError("ERR_KEY_IN_FORCE", text, { slot: name });
}

/**
 * Why nothing can be signed for a purpose, and the one command that changes it.
 *
 * @param found.lost the key in force, whose file is not here; undefined where none is in force
 * @param found.at the machine's time
 */
export function notInForce(
  slot: KeySlot,
  keys: KeyTable,
  { lost, at }: { readonly lost: KeyWindow | undefined; readonly at: string },
): SovereignError {
  const { purpose, role } = slot;
  const last = keys.windows.findLast((window) => isOfSlot(window, slot));
  const replace = `put another key in its place with: sovereign keys replace ${slotText(slot)}`;
  let text: string;
  if (lost !== undefined) {
    const id = lost.record.key_id.slice(0, 16);
    text = `The file of the ${purpose} key ${id} is not in the folder of the keys. Put it back, or ${replace}`;
  } else if (last?.endedBy === null && at < last.record.not_before) {
    const { key_id, not_before } = last.record;
    text = `This machine's clock says ${at}, and the ${slotText(slot)} key ${key_id.slice(0, 16)} is good from ${not_before} on. If the clock is behind, set it; nothing was signed`;
  } else {
    text = `No valid key is enrolled for ${role === null ? purpose : `${purpose} ${role}`}`;
    if (last === undefined && NAMED_PURPOSES.includes(purpose)) {
      text += `. Enrol one with: sovereign keys add --${slotText(slot).replace(":", " ")}`;
    } else {
      const became = last === undefined ? "none was ever made" : `the last one ${stateOf(last)}`;
      text += `: ${became}. P${replace.slice(1)}`;
    }
  }
  const code = NAMED_PURPOSES.includes(purpose) ? "ERR_KEY_NOT_FOUND" : "ERR_KEY_NOT_IN_FORCE";
  return new SovereignError(code, text, { purpose, role });
}

function stateOf({ endedBy }: KeyWindow): string {
  return endedBy === null ? "is outside its time" : `is ${endedBy}`;
}
