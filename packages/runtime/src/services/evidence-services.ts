import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalBytes,
  GATE_DOCUMENTS,
  parseStrictJson,
  quoted,
  SovereignError,
} from "@sovereign/core";
import type { Services } from "./services.ts";
import { ArtifactStore, exportBundle } from "../runs/index.ts";
import type { Installation } from "../installation/index.ts";
import type { LogReader } from "../ledger/index.ts";
import { openArchives } from "./archive/restore-archive.ts";
import { signerOf } from "./backup/signer-of.ts";
import type { Opened } from "./opened.ts";
import { runNotFound } from "./runs/run-folder.ts";

export function evidenceServices(opened: Opened): Pick<Services, "exportBundle" | "exportAudit"> {
  return {
    exportBundle: (tenantId, runId, withArtifacts, archives = []) =>
      opened(async (installation) => {
        const row = await installation.store.findRun(tenantId, runId);
        // The run's folder is that of the tenant that has its row.
        if (row === null && withArtifacts) throw await runNotFound(installation, tenantId, runId);
        const folder = installation.folder.run(runId);
        // The artifacts of an execution, and of a rollback, stand in its folder under the names that
        // the seed gives them.
        const own = existsSync(join(folder, GATE_DOCUMENTS.tape));
        const contents = installation.contents?.(tenantId) ?? null;
        const artifacts = new ArtifactStore(own ? folder : join(folder, "artifacts"), contents);
        return exportBundle({
          ledger: await ledgerOf(installation, archives),
          installationId: installation.id,
          tenantId,
          runId,
          readArtifact: withArtifacts ? (artifact) => artifacts.get(artifact) : null,
          plan: row?.plan ?? null,
        });
      }),
    exportAudit: (log, write, signs, archives = []) =>
      opened(async (installation) => {
        const ledger = await ledgerOf(installation, archives);
        await requireEntries(ledger, log);
        const note = signs ? await signedHead(installation, log) : null;
        let entries = 0;
        for await (const { index, hash, bytes } of ledger.readLog(log)) {
          const entry = parseStrictJson(bytes);
          write(`${Buffer.from(canonicalBytes({ index, hash, entry })).toString("utf8")}\n`);
          entries += 1;
        }
        return { entries, note };
      }),
  };
}

/** A name that was mistyped would give an export of nothing, and a signed head of it. */
async function requireEntries(ledger: LogReader, log: string): Promise<void> {
  const entries = ledger.readLog(log)[Symbol.asyncIterator]();
  const { done } = await entries.next();
  await entries.return?.();
  if (done !== true) return;
  const text = `The log ${quoted(log)} has no entries. Expected a tenant, or "installation".`;
  throw new SovereignError("ERR_LOG_EMPTY", text, { log });
}

async function signedHead(installation: Installation, log: string): Promise<string> {
  const { store } = installation;
  const signer = await signerOf(installation, "checkpoint");
  return (await store.sealCheckpoint(log, installation.origin(log), signer)).note;
}

async function ledgerOf(
  installation: Installation,
  archives: readonly string[],
): Promise<LogReader> {
  const { store } = installation;
  return archives.length === 0
    ? store
    : store.withArchive(await openArchives(installation, archives));
}
