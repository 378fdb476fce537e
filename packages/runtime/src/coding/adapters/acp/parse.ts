import type { AgentEvent } from "../../adapter.ts";
import { countOf, objectOf, textOf } from "../../untrusted.ts";

/**
 * One line of our client in the sandbox. The agent can write such lines, too, so that each is a claim.
 * @param line untrusted
 */
export function parse(line: string): AgentEvent[] {
  const value = objectOf(line) ?? {};
  const { type, id, ran, text, name, version, session, reason, why } = value;
  switch (type) {
    case "started":
      return [
        {
          kind: "started",
          version: `${textOf(name)} ${textOf(version)}`,
          model: "",
          session: textOf(session),
        },
      ];
    case "text":
      return [{ kind: "text", text: textOf(text) }];
    case "tool_end":
      return [{ kind: "tool_result", mark: textOf(id), ran: ran !== false, isHookFailed: false }];
    case "tool_unasked":
      return [{ kind: "tool_unasked" }];
    case "end":
      return [{ ...END, ...usage(value), ok: reason === "end_turn", word: textOf(reason) }];
    case "failed":
      return [{ ...END, word: "failed", text: textOf(why) }];
    default:
      return [{ kind: "other" }];
  }
}

const END = {
  kind: "result",
  ok: false,
  word: "",
  text: "",
  turns: null,
  costUsd: null,
  inputTokens: 0,
  outputTokens: 0,
  denied: [],
} as const;

function usage({ inputTokens, outputTokens }: NonNullable<ReturnType<typeof objectOf>>): {
  inputTokens: number;
  outputTokens: number;
} {
  return { inputTokens: countOf(inputTokens), outputTokens: countOf(outputTokens) };
}
