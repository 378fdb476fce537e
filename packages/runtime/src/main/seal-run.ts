import { existsSync } from "node:fs";
import { join } from "node:path";
import { type ArtifactRef, INSTALLATION_LOG } from "@sovereign/core";
import type { Authority } from "../authority/index.ts";
import { exportBundle, type RunSession } from "../runs/index.ts";
import type { Installation } from "./installation.ts";
import { writeWhole } from "./write-whole.ts";

interface Place {
  readonly installation: Installation;
  readonly tenantId: string;
}
/** Puts the artifacts' bytes into the bundle; null leaves them out. */
type ReadArtifact = ((artifact: ArtifactRef) => Promise<Uint8Array>) | null;

/** Where a run's evidence lies, for those who check it. */
export interface Published {
  readonly bundle: string;
  readonly trustRoot: string;
  readonly folder: string;
}

/** Seal a run, sign the logs' heads, and write bundle and trust root into the run's folder. */
export async function sealRun(
  place: Place,
  { session, authority }: { readonly session: RunSession; readonly authority: Authority },
  status: "completed" | "failed",
  reason: string | null,
  readArtifact: ReadArtifact,
): Promise<Published> {
  await session.seal(status, reason);
  return publishBundle(place, authority, session.plan.runId, readArtifact);
}

/** What is left when a run is sealed; a process that was killed before it is made up for. */
export async function publishBundle(
  { installation, tenantId }: Place,
  authority: Authority,
  runId: string,
  readArtifact: ReadArtifact,
): Promise<Published> {
  const signer = await authority.signer("checkpoint", null);
  for (const log of [tenantId, INSTALLATION_LOG]) {
    await installation.store.sealCheckpoint(log, installation.origin(log), signer);
  }
  const published = publishedAt(installation, runId);
  const bytes = await exportBundle({
    ledger: installation.store,
    installationId: installation.id,
    tenantId,
    runId,
    readArtifact,
  });
  writeWhole(published.trustRoot, JSON.stringify(installation.keyLog.trustRoot(), null, 2));
  // The last of all: where it is, nothing of the run is left to be done.
  writeWhole(published.bundle, bytes);
  return published;
}

export function publishedAt(installation: Installation, runId: string): Published {
  const folder = installation.folder.run(runId);
  const bundle = join(folder, "compliance_bundle.json");
  return { bundle, trustRoot: join(folder, "trust-root.json"), folder };
}

export function isPublished(installation: Installation, runId: string): boolean {
  return existsSync(publishedAt(installation, runId).bundle);
}
