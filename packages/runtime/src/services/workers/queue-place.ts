import { SovereignError } from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import type { QueuePlace } from "../../ledger/index.ts";

/** @param priority from -100 to 100 @throws ERR_REQUEST_INVALID */
export function placeInQueue({ node }: Pick<Installation, "node">, priority: number): QueuePlace {
  if (Number.isInteger(priority) && Math.abs(priority) <= 100) return { node: node.id, priority };
  const text = `Expected a priority from -100 to 100, found ${priority}.`;
  throw new SovereignError("ERR_REQUEST_INVALID", text);
}
