import { readFileSync } from "node:fs";
import { join } from "node:path";
import { formatSchemas, isSovereignError, type JsonObject } from "@sovereign/core";
import { type JournalLine, parseJournalLine } from "../../src/scram/journal.ts";

/** What is recorded, and is not of the schema that is published for its event. */
export function schemaFaults(event: string, data: JsonObject): string[] {
  const schema = formatSchemas[`event.${event}`];
  if (schema === undefined) return [`${event}: no schema is published`];
  const issues = schema.safeParse(data).error?.issues ?? [];
  return issues.map(({ path, message }) => `${event} at ${path.join(".")}: ${message}`);
}

/** The same of every line of a data folder's journal that can be read. */
export function journalFaults(home: string): string[] {
  return readableLines(join(home, "scram", "journal.jsonl")).flatMap(({ event, data }) =>
    schemaFaults(event, data),
  );
}

function readableLines(path: string): JournalLine[] {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch {
    // Some tests take it away.
  }
  return text.split("\n").flatMap((line) => {
    try {
      return [parseJournalLine(line)];
    } catch (error) {
      if (!isSovereignError(error)) throw error;
      return [];
    }
  });
}
