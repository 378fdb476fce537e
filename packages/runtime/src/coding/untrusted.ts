import {
  isSovereignError,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
  utf8Encode,
} from "@sovereign/core";

const BYTES_MAX = 64 * 1024 * 1024;

/** What an agent or its hook says, as an object. @returns null for what is no JSON object */
export function objectOf(text: string): JsonObject | null {
  try {
    const value = parseStrictJson(utf8Encode(text), { bytesMax: BYTES_MAX });
    return isObject(value) ? value : null;
  } catch (error) {
    if (isSovereignError(error)) return null;
    throw error;
  }
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @returns "" for what is no text */
export function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

/** @returns 0 for what is no count */
export function countOf(value: JsonValue | undefined): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
