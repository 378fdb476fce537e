import { fields, isSovereignError, toolOfAgent, type ToolType } from "@sovereign/core";
import { ADAPTERS } from "../../coding/index.ts";
import type { ModelTestReport } from "../model-services.ts";
import type { AgentDoctorRow, ToolHealthRow, ToolState } from "./agent-reports.ts";

/** Makes one small call of a model. */
export type TryModel = (vendor: string, model: string) => Promise<ModelTestReport>;

/**
 * The state of each tool that packs know.
 *
 * @param rows of the agents that are known here
 * @param tryModel null where no call is to be made: then a key is not tried
 */
export async function toolHealth(
  rows: readonly AgentDoctorRow[],
  tryModel: TryModel | null,
): Promise<ToolHealthRow[]> {
  const health: ToolHealthRow[] = [];
  for (const tool of fields.toolType.options) {
    const row = rows.find((one) => toolOfAgent(one.agent) === tool);
    health.push(row === undefined ? unknown(tool) : await healthOf(tool, row, tryModel));
  }
  return health;
}

function unknown(tool: ToolType): ToolHealthRow {
  const why = "this version has no adapter for it";
  return { tool, state: "not_configured", why, next: null, version: null };
}

async function healthOf(
  tool: ToolType,
  row: AgentDoctorRow,
  tryModel: TryModel | null,
): Promise<ToolHealthRow> {
  const { state, version, tested, next, wire, models, sandbox } = row;
  const told = (found: ToolState, why: string, then: string | null): ToolHealthRow => ({
    tool,
    state: found,
    why,
    next: then,
    version,
  });
  if (state === "missing") return told("not_configured", "its program is not installed", next);
  if (state === "untested") {
    return told(
      "schema_mismatch",
      `version ${version ?? "none"}; tested: ${tested ?? "none"}`,
      next,
    );
  }
  if (sandbox === null) return told("not_configured", "there is no sandbox", "sovereign doctor");
  if (models.length === 0) {
    const speaks = wire === null ? "" : ` that speaks ${wire}`;
    const why = `no vendor of models${speaks} is set up`;
    return told("not_configured", why, "sovereign models add --help");
  }
  const open = models.find((one) => one.reachable);
  if (open === undefined) {
    const urls = models.map((one) => one.url).join(", ");
    return told("unreachable", `nobody answers at ${urls}`, "sovereign models list");
  }
  if (tryModel === null)
    return told("connected", `${open.url} answers; its key was not tried`, null);
  return tried(told, row, await attempt(tryModel, open.vendor, row.agent));
}

async function attempt(
  tryModel: TryModel,
  vendor: string,
  agent: string,
): Promise<ModelTestReport | string> {
  const model = ADAPTERS.find((one) => one.name === agent)?.defaultModel ?? "";
  try {
    return await tryModel(vendor, model);
  } catch (error) {
    if (isSovereignError(error)) return error.message;
    throw error;
  }
}

function tried(
  told: (state: ToolState, why: string, next: string | null) => ToolHealthRow,
  { agent }: AgentDoctorRow,
  report: ModelTestReport | string,
): ToolHealthRow {
  if (typeof report === "string") return told("unreachable", report, "sovereign models list");
  const { ok, status, meaning, vendor, model } = report;
  if (ok) return told("connected", `${vendor} answers with ${model}`, null);
  const next = `sovereign models test ${vendor} --model ${model}`;
  if (status === 401 || status === 403) return told("invalid_token", meaning, next);
  if (status === 404 || status === 400) return told("model_missing", meaning, next);
  if (status !== null && status < 400) {
    return told("schema_mismatch", `${agent}: the answer cannot be read: ${meaning}`, next);
  }
  return told("unreachable", meaning, next);
}
