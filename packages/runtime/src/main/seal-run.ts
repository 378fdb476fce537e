import { join } from "node:path";
import { type ArtifactRef, INSTALLATION_LOG } from "@sovereign/core";
import type { Authority } from "../authority/index.ts";
import { exportBundle, type RunSession } from "../runs/index.ts";
import type { Installation } from "./installation.ts";
import { writeWhole } from "./write-whole.ts";

/**
 * Seal a run, sign the logs' heads, and write bundle and trust root into the run's folder.
 *
 * @param readArtifact puts the artifacts' bytes into the bundle; null leaves them out
 */
export async function sealRun(
  { installation, tenantId }: { readonly installation: Installation; readonly tenantId: string },
  { session, authority }: { readonly session: RunSession; readonly authority: Authority },
  status: "completed" | "failed",
  reason: string | null,
  readArtifact: ((artifact: ArtifactRef) => Promise<Uint8Array>) | null,
): Promise<{ bundle: string; trustRoot: string; folder: string }> {
  await session.seal(status, reason);
  const signer = await authority.signer("checkpoint", null);
  for (const log of [tenantId, INSTALLATION_LOG]) {
    await installation.store.sealCheckpoint(log, installation.origin(log), signer);
  }
  const { runId } = session.plan;
  const folder = installation.folder.run(runId);
  const bundle = join(folder, "compliance_bundle.json");
  const bytes = await exportBundle({
    ledger: installation.store,
    installationId: installation.id,
    tenantId,
    runId,
    readArtifact,
  });
  const trustRoot = join(folder, "trust-root.json");
  writeWhole(trustRoot, JSON.stringify(installation.keyLog.trustRoot(), null, 2));
  writeWhole(bundle, bytes);
  return { bundle, trustRoot, folder };
}
