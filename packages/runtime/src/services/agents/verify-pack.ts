import { existsSync } from "node:fs";
import {
  differencesOf,
  isSovereignError,
  type JsonValue,
  parseStrictJson,
  type ToolResultPack,
} from "@sovereign/core";
import { type PackReport, readNamed, verifyToolResult } from "@sovereign/verify";
import { PACK_BYTES_MAX, parseResultPack, parseTaskPack } from "../../coding/index.ts";
import type { Opened } from "../opened.ts";
import type { PackFiles } from "./agent-reports.ts";
import { collectResult } from "./collect-result.ts";

/**
 * Hold a result pack against its task and a repository. Where its run stands in the ledger here, each
 * of its fields is held against what the evidence gives, too.
 *
 * @throws ERR_TOOL_PACK_INVALID, ERR_REPOSITORY_UNREADABLE
 */
export async function verifyPack(
  { task, result, repository }: PackFiles,
  home: string,
  opened: Opened,
  tenantId: string,
): Promise<PackReport> {
  const { pack } = parseTaskPack(readNamed(task, PACK_BYTES_MAX), task);
  const said = parseResultPack(readNamed(result, PACK_BYTES_MAX), result);
  const report = verifyToolResult(pack, said, repository);
  const found = await recordedHere(said, home, opened, tenantId);
  if (found === null) return report;
  const lies = differencesOf(said as unknown as JsonValue, found).map((one) => ({
    field: one.field,
    found: "false" as const,
    text: `says ${one.claimed}, found ${one.found} in the evidence of the run`,
  }));
  if (lies.length > 0) return { verdict: "FALSE", lines: [...report.lines, ...lies] };
  const same = { field: "run_id", found: "holds", text: "as in the evidence of the run" } as const;
  return { ...report, lines: [...report.lines, same] };
}

/** Null where the run is not one of this installation. */
async function recordedHere(
  { run_id: runId }: ToolResultPack,
  home: string,
  opened: Opened,
  tenantId: string,
): Promise<JsonValue> {
  if (runId === undefined || !existsSync(home)) return null;
  return opened(async (installation) => {
    const row = await installation.store.findRun(tenantId, runId);
    if (row?.kind !== "agent") return null;
    try {
      return parseStrictJson(await collectResult({ installation, tenantId }, row));
    } catch (error) {
      if (isSovereignError(error, "ERR_TOOL_PACK_INVALID")) return null;
      throw error;
    }
  });
}
