import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSovereignError } from "@sovereign/core";
import { type AgentProgram, type InstalledAgent, proveHooks } from "../../coding/index.ts";
import { removeHostile, workLimits } from "../../executor/index.ts";
import type { Installation } from "../../installation/index.ts";
import { parsePolicy } from "../../policy/index.ts";
import { connectSandbox } from "../../sandbox/index.ts";
import { requireArmed } from "../runs/require-armed.ts";
import type { HookProofNow } from "./agent-reports.ts";
import { starterPolicy } from "./agent-request.ts";

/** Whose a canary's paths are. */
const DOCTOR_RUN = `run_${"c".repeat(20)}`;

/**
 * Start an agent's canary in a sandbox that the kill switch knows, in an empty tree, with no network
 * and a made-up model.
 *
 * @throws ERR_SCRAM_TRIPPED
 */
export async function proveHere(
  installation: Pick<Installation, "scram" | "guard">,
  tenantId: string,
  adapter: InstalledAgent,
  program: AgentProgram,
): Promise<HookProofNow> {
  const owner = { tenant_id: tenantId, run_id: DOCTOR_RUN };
  requireArmed(installation, owner);
  const scram = await installation.guard();
  const folder = mkdtempSync(join(tmpdir(), "sov-"));
  const root = join(folder, "tree");
  const noGit = join(folder, "no-git");
  mkdirSync(join(root, ".git"), { recursive: true });
  mkdirSync(noGit, { mode: 0o755 });
  const starter = starterPolicy({ agent: adapter.name, verify: [] });
  const limits = workLimits(parsePolicy(starter.bytes, starter.path));
  try {
    const wallMs = await proveHooks({
      adapter,
      program,
      sandbox: connectSandbox(scram, owner),
      model: adapter.defaultModel,
      folder: join(folder, "canary"),
      signal: new AbortController().signal,
      workspace: { root, noGit, limits },
      modules: null,
      mounted: null,
    });
    return { ok: true, wall_ms: Math.round(wallMs), reason: null };
  } catch (error) {
    // A stop of everything is no word on the hooks.
    if (!isSovereignError(error) || error.code === "ERR_SCRAM_TRIPPED") throw error;
    return { ok: false, wall_ms: null, reason: `${error.code}: ${error.message}` };
  } finally {
    await removeHostile(folder);
  }
}
