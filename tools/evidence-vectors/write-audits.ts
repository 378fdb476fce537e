import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalBytes,
  parseCanonicalJson,
  parseStrictJson,
  type PlacedEntry,
  type TrustRoot,
} from "@sovereign/core";
import type { EvidenceWorld } from "../../packages/runtime/test/support/evidence.ts";
import { judgeAudit } from "../../packages/verify/test/support/audit-file.ts";
import { AUDIT_ROWS, type AuditBase } from "./audit-rows.ts";

/** One audit file: against which head, under which trust root, and what must come out. */
interface AuditVector {
  readonly file: string;
  readonly checkpoint: string | null;
  readonly trust: string | null;
  readonly verdict: string;
  /** Where the first failure is; null where there is none, or no verdict. */
  readonly place: string | null;
  readonly what: string;
  readonly held: string;
}

/** Writes `audit/`, a file for each row, and returns what the index says of them. */
export async function writeAudits(root: string, world: EvidenceWorld): Promise<AuditVector[]> {
  const folder = join(root, "audit");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [name, trust] of Object.entries(trustsOf(world))) {
    writeFileSync(join(folder, `trust-${name}.json`), canonicalBytes(trust));
  }
  const base = await baseOf(world);
  const vectors: AuditVector[] = [];
  for (const [index, row] of AUDIT_ROWS.entries()) {
    const made = row.make(base);
    const stem = `${String(index + 1).padStart(2, "0")}-${slug(row.name)}`;
    writeFileSync(join(folder, `${stem}.jsonl`), made.file);
    const isAlone = row.trust === null;
    if (!isAlone) writeFileSync(join(folder, `${stem}.note`), made.checkpoint);
    const vector = {
      file: `audit/${stem}.jsonl`,
      checkpoint: isAlone ? null : `audit/${stem}.note`,
      trust: isAlone ? null : `audit/trust-${row.trust ?? "own"}.json`,
    };
    const { verdict, place } = await judgeAudit(root, vector);
    const found = verdict === row.verdict ? verdict : `!${verdict}`;
    vectors.push({ ...vector, verdict: found, place, what: row.name, held: row.held });
  }
  return vectors;
}

async function baseOf(world: EvidenceWorld): Promise<AuditBase> {
  const { logs } = await world.bundle();
  const rows = world.store.logs.get("acme") ?? [];
  const entries = rows.map(({ bytes, hash }, index) => {
    return { index, hash, entry: parseCanonicalJson(bytes) } as unknown as PlacedEntry;
  });
  return {
    entries,
    origin: logs.tenant.origin,
    checkpoint: logs.tenant.checkpoint,
    installationCheckpoint: logs.installation.checkpoint,
    checkpointKey: await world.world.authority.signer("checkpoint", null),
    otherKey: await world.world.authority.signer("seal", null),
  };
}

function trustsOf(world: EvidenceWorld): Record<string, TrustRoot> {
  const own = parseStrictJson(world.trustRoot()) as unknown as TrustRoot;
  const keys = own.keys.map((key) => ({ ...key, distrust_all: key.purpose === "checkpoint" }));
  const other = { ...own, installation_id: `ins_${"b".repeat(20)}` };
  return { own, distrusted: { ...own, keys }, other };
}

function slug(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, 60)
    .replace(/-$/, "");
}
