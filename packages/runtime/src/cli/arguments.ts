import { fields } from "@sovereign/core";
import { InvalidArgumentError } from "commander";

/** A parser of an argument that is a whole number within bounds. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}`);
  };
}

/** A parser of a name that a person chooses: a tenant, a role, somebody who holds a key. */
export function parseName(text: string): string {
  const result = fields.name.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError(result.error.issues[0]?.message ?? "expected a name");
}

/** A parser of a run's identifier. */
export function parseRunId(text: string): string {
  const result = fields.runId.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError(result.error.issues[0]?.message ?? "expected a run");
}

/** Names of roles or people, as often as the option is given. */
export function many(value: string, before: string[]): string[] {
  return [...before, parseName(value)];
}

/** A parser of a date, which is its first instant in UTC, or of an instant. */
export function parseInstant(text: string): string {
  const instant = text
    .replace(/^\d{4}-\d{2}-\d{2}$/, "$&T00:00:00.000Z")
    .replace(/^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})Z$/, "$1.000Z");
  const result = fields.timestamp.safeParse(instant);
  if (result.success) return result.data;
  throw new InvalidArgumentError("expected a date such as 2026-01-31, or 2026-01-31T00:00:00.000Z");
}
