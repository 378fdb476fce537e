import { SovereignError } from "@sovereign/core";

/**
 * A program that embeds us may have given all objects or lists a `toJSON`. What the platform then
 * writes as JSON is something else than what it was given: so nothing is written that a decision or
 * a record rests on.
 *
 * @throws ERR_JSON_UNSUPPORTED
 */
export function refuseOtherJson(): void {
  if (!("toJSON" in [])) return;
  const text =
    "Expected plain lists, found a `toJSON` on every list of this process. Take it off Array.prototype and Object.prototype.";
  throw new SovereignError("ERR_JSON_UNSUPPORTED", text);
}
