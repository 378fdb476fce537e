const DEPTH_MAX = 60;

/** Whether a value can be written down as it is: no lone surrogates, no endless depth or number. */
export function isPlainJson(value: unknown, depth = 0): boolean {
  if (depth > DEPTH_MAX) return false;
  if (value === null || typeof value === "boolean") return true;
  if (typeof value === "string") return value.isWellFormed();
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object") return false;
  return Object.entries(value).every(
    ([key, one]) => key.isWellFormed() && isPlainJson(one, depth + 1),
  );
}

/** @returns undefined for what is no JSON, or cannot be written down as it is */
export function readJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return isPlainJson(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Null for what is no text in UTF-8. */
export function readText(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}
