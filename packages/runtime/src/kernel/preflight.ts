import { type ActionContext, cutText, type ErrorCode } from "@sovereign/core";
import { knownCode } from "./codes.ts";
import type { ScramGate } from "./ports.ts";
import { leaveUnheard, ownField, readThrown } from "./thrown.ts";

type Gate = { armed: true } | { armed: false; code: ErrorCode; reason: string };

/** Ask the kill switch. Only the plain word that it is armed lets anything go on. */
export function preflight(scram: ScramGate, context: ActionContext): Gate {
  try {
    const answer: unknown = scram.preflight(context);
    leaveUnheard(answer);
    if (ownField(answer, "armed") === true) return { armed: true };
    const code = ownField(answer, "code");
    const reason = ownField(answer, "reason");
    const text = typeof reason === "string" ? reason : "the kill switch gave no reason";
    return {
      armed: false,
      code: knownCode(code, "ERR_SCRAM_TRIPPED"),
      reason: cutText(text, 2000),
    };
  } catch (error) {
    const said = readThrown(error).message ?? "it threw what is not an error";
    const reason = cutText(`the kill switch gave no answer: ${said}`, 2000);
    return { armed: false, code: "ERR_SCRAM_SENTINEL_LOST", reason };
  }
}
