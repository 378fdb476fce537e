import type { z } from "zod";
import type { JsonObject } from "../formats/index.ts";
import { parseFormat } from "../formats/index.ts";

/** What the patterns of a policy are held against. */
export interface PolicyFace {
  /**
   * `path`: the resource is a path below the repository's root. `command`: the resource is the
   * executable, `argv` its arguments. `host`: the resource is a host. `resource`: it is a name.
   */
  readonly matches: "path" | "command" | "host" | "resource";
  /**
   * Parameters that name more paths, such as where a file is moved to. Policy must allow each of
   * them, and the resource.
   */
  readonly morePaths?: readonly string[];
  /** It changes nothing at its path, so files that other machines run may be named. */
  readonly readsOnly?: true;
  /** The parameter that lists the files it changes which tools on other machines run. */
  readonly hostRunFiles?: string;
  /** Its words in a policy file, in the list that `matches` belongs to. */
  readonly words?: readonly string[];
}

/** An operation of a request in our vocabulary. Its bytes go beside it, by digest. */
export interface PlannedAction {
  readonly resource: string;
  readonly params: JsonObject;
  readonly content: Uint8Array | null;
}

/** How a request asks for an action. */
export interface RequestForm {
  /** Other names that requests may use for the action. The type itself is always a name, too. */
  readonly words: readonly string[];
  /**
   * What an operation becomes. Null where the runtime does it for each step anyway.
   *
   * @param params untrusted
   * @param word the word that asked
   * @param where the operation's place, for messages
   * @throws ERR_REQUEST_INVALID
   */
  readonly plan: ((params: JsonObject, word: string, where: string) => PlannedAction) | null;
}

/**
 * What happens when a process died and nobody recorded how the action ended.
 *
 * `again`: it is done again. It starts from what its parameters name, or from what its first try
 * left where that does no harm. `recalled`: its effect first says whether it happened.
 */
export type Repeats = "again" | "recalled";

/** Everything about one type of action but what it does: that is its effect. */
export interface ActionDeclaration {
  /** One sentence for people. */
  readonly text: string;
  readonly params: z.ZodType;
  readonly output: z.ZodType;
  readonly policy: PolicyFace;
  readonly repeats: Repeats;
  readonly request: RequestForm | null;
}

/** A request's form, with the parameters that it takes. */
export function requestForm<T extends z.ZodType>(
  words: readonly string[],
  params: T,
  plan: (asked: z.infer<T>, word: string, where: string) => PlannedAction,
): RequestForm {
  return {
    words,
    plan: (given, word, where) =>
      plan(parseFormat(params, given, where, "ERR_REQUEST_INVALID"), word, where),
  };
}
