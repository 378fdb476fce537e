import type { z } from "zod";
import { deepFreeze } from "../json/index.ts";
import { AGENT_ACTIONS } from "./agent-actions.ts";
import { COMMAND_ACTIONS, PROGRAM_ACTIONS } from "./command-actions.ts";
import type { ActionDeclaration, PolicyFace, RequestForm } from "./declaration.ts";
import { FILE_ACTIONS } from "./file-actions.ts";
import { GIT_ACTIONS } from "./git-actions.ts";
import { JUDGED_ACTIONS } from "./judged-actions.ts";
import { MODEL_ACTIONS } from "./model-actions.ts";
import { SKILL_ACTIONS } from "./skill-actions.ts";

/**
 * The one catalogue of actions. Each has exactly one effect for each kind of run that does it; a
 * type that is not here has none, and the kernel refuses it by name.
 */
export const ACTIONS = {
  ...FILE_ACTIONS,
  ...COMMAND_ACTIONS,
  ...GIT_ACTIONS,
  ...PROGRAM_ACTIONS,
  ...MODEL_ACTIONS,
  ...AGENT_ACTIONS,
  ...SKILL_ACTIONS,
} as const satisfies Readonly<Record<string, ActionDeclaration>>;
// Programs that embed us hold it, and policy is matched by it.
for (const one of Object.values(ACTIONS)) {
  deepFreeze(one.policy);
  if (one.request !== null) {
    Object.freeze(one.request.words);
    Object.freeze(one.request);
  }
  Object.freeze(one);
}
Object.freeze(ACTIONS);

export type ActionType = keyof typeof ACTIONS;
export type ActionParams<T extends ActionType> = z.infer<(typeof ACTIONS)[T]["params"]>;
export type ActionOutput<T extends ActionType> = z.infer<(typeof ACTIONS)[T]["output"]>;
/** The types whose effect must say whether an earlier attempt happened. */
export type RecalledType = {
  [T in ActionType]: (typeof ACTIONS)[T]["repeats"] extends "recalled" ? T : never;
}[ActionType];

deepFreeze(JUDGED_ACTIONS);

const FACES = new Map<string, PolicyFace>(
  Object.entries({ ...JUDGED_ACTIONS, ...ACTIONS }).map(
    ([type, { policy }]): [string, PolicyFace] => [type, policy],
  ),
);

const FORMS = new Map<string, { readonly type: string; readonly form: RequestForm }>(
  Object.entries(ACTIONS).flatMap(([type, { request: form }]) =>
    form === null ? [] : [type, ...form.words].map((word) => [word, { type, form }] as const),
  ),
);

const BY_NAME: PolicyFace = Object.freeze({ matches: "resource" });

/** What policy holds an action of a type against; of an unknown type, its resource. */
export function policyFace(type: string): PolicyFace {
  return FACES.get(type) ?? BY_NAME;
}

/** A word of policy files → the types that it allows, of those that are matched in one way. */
export function policyWords(matches: PolicyFace["matches"]): Readonly<Record<string, string[]>> {
  const words: Record<string, string[]> = {};
  for (const [type, face] of FACES) {
    if (face.matches !== matches) continue;
    for (const word of face.words ?? []) (words[word] ??= []).push(type);
  }
  return words;
}

/** How a request's word is planned; null for a word that nobody defined. */
export function requestWord(word: string): RequestForm | null {
  return FORMS.get(word)?.form ?? null;
}

/**
 * The type of action that a word stands for. What stands for none is unknown by its name, also where
 * it is the type of an action that only the runtime itself may ask for.
 */
export function operationType(word: string): string {
  return FORMS.get(word)?.type ?? `unknown.${word.replaceAll(".", "_")}`;
}

/** True for a type that a request's step may hold. */
export function isKnownOperation(type: string): boolean {
  return FORMS.get(type)?.type === type;
}
