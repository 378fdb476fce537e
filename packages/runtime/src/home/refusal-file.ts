import { rmSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalBytes,
  fields,
  isSovereignError,
  parseFormat,
  parseStrictJson,
} from "@sovereign/core";
import { z } from "zod";
import { readNamed } from "@sovereign/verify";
import { systemClock, timestampOf, replaceOwnFile } from "../system/index.ts";

const refusalFile = z.strictObject({
  code: z.string().max(100),
  text: z.string().max(4000),
  at: fields.timestamp,
});

/** A data folder that is refused for one of these runs nothing, however healthy its sentinel is. */
const REFUSALS = new Set([
  "ERR_NODE_CLONED",
  "ERR_NODE_UNKNOWN",
  "ERR_NODE_OTHER_INSTALLATION",
  "ERR_LEDGER_ROLLED_BACK",
  "ERR_LEDGER_CORRUPT",
]);

/**
 * Keep why a data folder was refused, for those who are asked without a database, such as `health`.
 * @param error null where it was not
 */
export function noteRefusal(root: string, error: unknown): void {
  const path = pathOf(root);
  try {
    if (error === null) {
      rmSync(path, { force: true });
    } else if (isSovereignError(error) && REFUSALS.has(error.code)) {
      const text = error.message.slice(0, 4000);
      const kept = { code: error.code, text, at: timestampOf(systemClock) };
      replaceOwnFile(path, canonicalBytes(kept), false);
    }
  } catch {
    // Whoever opens the folder is told all the same.
  }
}

/** Why the data folder was refused when it was last opened, or while work ran; null where it was not. */
export function refusalOf(root: string): string | null {
  try {
    const value = parseStrictJson(readNamed(pathOf(root)));
    const { code, text, at } = parseFormat(refusalFile, value, "refusal");
    return `${code} at ${at}: ${text}`;
  } catch (error) {
    // What is there and cannot be read is a refusal of which the reason is lost.
    return isSovereignError(error, "ERR_FILE_UNREADABLE") ? null : `${pathOf(root)} is damaged`;
  }
}

function pathOf(root: string): string {
  return join(root, "ledger", "refused.json");
}
