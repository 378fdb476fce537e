import type { JsonObject, JsonValue } from "@sovereign/core";
import { secretsNamedIn } from "../agents/index.ts";
import type { Skill } from "./skill.ts";

/** The texts of an input that refer to secrets, by their places: names joined by dots. */
export function secretTexts(value: JsonValue, place = ""): Map<string, string> {
  if (typeof value === "string") {
    return new Map(secretsNamedIn(value).length > 0 ? [[place, value]] : []);
  }
  if (typeof value !== "object" || value === null) return new Map();
  return new Map(
    Object.entries(value).flatMap(([key, one]: [string, JsonValue]) => [
      ...secretTexts(one, place === "" ? key : `${place}.${key}`),
    ]),
  );
}

/** Whether a skill takes secrets at a place. */
export function takesSecret({ secrets }: Skill, place: string): boolean {
  const parts = place.split(".");
  return secrets.some((pattern) => {
    const wanted = pattern.split(".");
    return (
      wanted.length === parts.length && wanted.every((one, at) => one === "*" || one === parts[at])
    );
  });
}

/** The secrets that an input refers to where its skill takes them. */
export function secretNames(skill: Skill, input: JsonObject): string[] {
  const texts = [...secretTexts(input)].filter(([place]) => takesSecret(skill, place));
  return [...new Set(texts.flatMap(([, text]) => secretsNamedIn(text)))].sort();
}
