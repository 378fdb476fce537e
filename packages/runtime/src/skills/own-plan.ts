import { cutText, type JsonObject, type JsonValue, quoted, SovereignError } from "@sovereign/core";
import { own, ownInput } from "./own/index.ts";
import type { OwnSkills } from "./own-store.ts";
import type { Skill } from "./skill.ts";

/** A step of a skill of one's own as it is stored, and the skill to which its input is held. */
export interface PinnedStep {
  readonly with: JsonObject;
  readonly skill: Skill;
}

/** @param given the step's `with`: untrusted @throws ERR_SKILL_UNKNOWN, ERR_SKILL_CHANGED, ERR_SKILL_INPUT */
export type PinOwn = (given: JsonObject, where: string) => PinnedStep;

/** Puts the digest of what is trusted now, and the host of its manifest, into a step. */
export function pinTo(skills: OwnSkills): PinOwn {
  return (given, where) => {
    const name = textOf(given, "name", where) ?? "";
    const { manifest, digest } = skills.open(name, textOf(given, "digest", where) ?? undefined);
    const host = textOf(given, "host", where);
    if (host !== null && host !== manifest.host) {
      const text = `${where}: ${name} reaches ${manifest.host ?? "no host"}, as its manifest says, not ${quoted(cutText(host, 80))}. Leave host out.`;
      throw new SovereignError("ERR_SKILL_INPUT", text);
    }
    const pinned = { digest, ...(manifest.host === null ? {} : { host: manifest.host }) };
    return {
      with: { input: {}, ...given, ...pinned },
      skill: {
        ...own,
        input: ownInput.extend({ input: manifest.input }),
        secrets: manifest.secrets.map((place) => `input.${place}`),
      },
    };
  };
}

/** What names a skill stands in the plan itself. */
function textOf(given: JsonObject, field: string, where: string): string | null {
  const value: JsonValue = given[field] ?? null;
  if (value === null || typeof value === "string") return value;
  const text = `${where}: the step gives own at with.${field}: expected a text`;
  throw new SovereignError("ERR_SKILL_INPUT", text);
}
