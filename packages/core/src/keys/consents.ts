import type { EntryData } from "../formats/index.ts";
import { countHolders } from "./holder.ts";

/**
 * How many people's consent stands beside an action, as far as its entry alone can say: an envelope
 * counts once, and there are never more people than those whom policy named. Whose signatures they
 * are is the verifier's to find.
 */
export function consentsIn({
  decision,
  envelopes,
}: Pick<EntryData<"execution.authorized">, "decision" | "envelopes">): number {
  const given = Object.entries(envelopes).filter(([name]) => name.startsWith("approval_"));
  const different = new Set(given.map(([, digest]) => digest)).size;
  return Math.min(different, countHolders(decision.approvals?.roles ?? []));
}
