import {
  type ArtifactRef,
  base64Decode,
  base64Encode,
  type ComplianceBundle,
  canonicalBytes,
  digestOf,
  type EntryData,
  type Envelope,
  hexEncode,
  INSTALLATION_LOG,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  type PlacedEntry,
  parseCanonicalJson,
  parseEnvelope,
  parseStatement,
  RunTrace,
  SovereignError,
  sha256Hex,
  type TraceSeal,
} from "@sovereign/core";
import { type LedgerReader, entryToShow, type StoredEntry } from "../ledger/index.ts";
import { isTraced } from "./recorded-run.ts";

export interface BundleRequest {
  readonly ledger: LedgerReader;
  readonly installationId: string;
  readonly tenantId: string;
  readonly runId: string;
  /** Reads an artifact's bytes by its digest, to put them into the bundle; null leaves them out. */
  readonly readArtifact: ((artifact: ArtifactRef) => Promise<Uint8Array>) | null;
  /** The run's entries where they were read already, by {@link readEntries}. */
  readonly entries?: readonly PlacedEntry[];
  /** The run's plan as it is stored: the bundle of a goal holds it. */
  readonly plan?: Uint8Array | null;
}

/**
 * Make the compliance bundle of a run: canonical JSON, the same bytes each time for a sealed run.
 *
 * @throws ERR_RUN_NOT_FOUND when the run has no entries
 * @throws ERR_CHECKPOINT_MISSING when the ledger has no signed head over the run yet
 * @throws ERR_ARTIFACT_CHANGED when an artifact's bytes are no longer what the evidence names
 * @see docs/spec/evidence.md "Bundle"
 */
export async function exportBundle(request: BundleRequest): Promise<Uint8Array> {
  const { ledger, installationId, tenantId, runId } = request;
  const entries = [...(request.entries ?? (await readEntries(ledger, tenantId, runId)))];
  const first = entries[0];
  if (first === undefined) {
    throw new SovereignError("ERR_RUN_NOT_FOUND", `No run ${runId} is in the ledger.`, { runId });
  }
  const keyLog = (await collect(ledger.readStream(INSTALLATION_LOG, "keys"))).slice(
    0,
    keyLogCount(entries),
  );
  const envelopes = await envelopesOf(ledger, tenantId, entries);
  for (const [digest, one] of await envelopesOf(ledger, INSTALLATION_LOG, keyLog)) {
    envelopes.set(digest, one);
  }
  const artifacts = await artifactsOf(request, entries);
  const logs = {
    tenant: await logEvidence(ledger, tenantId, `tenant/${tenantId}`, installationId, entries),
    installation: await logEvidence(
      ledger,
      INSTALLATION_LOG,
      INSTALLATION_LOG,
      installationId,
      keyLog,
    ),
  };
  const goal = goalOf(request.plan ?? null, entries, sealIn(entries, envelopes));
  const sections = {
    entries,
    key_log: keyLog,
    envelopes: sorted(envelopes),
    artifacts,
    logs,
    ...(goal === null ? {} : { goal }),
  };
  const bundle: ComplianceBundle = {
    format: "sovereign.compliance-bundle",
    schema_version: "1.0.0",
    manifest: manifestOf(request, first, sections),
    ...sections,
  };
  return canonicalBytes(bundle as unknown as JsonValue);
}

type Sections = Pick<
  ComplianceBundle,
  "entries" | "key_log" | "envelopes" | "artifacts" | "logs" | "goal"
>;

/**
 * A goal's plan and steps. The steps are made of the entries, not of rows.
 * @throws ERR_LEDGER_CORRUPT where the plan is not the one that the first entry names
 */
function goalOf(
  stored: Uint8Array | null,
  entries: readonly PlacedEntry[],
  seal: TraceSeal | undefined,
): NonNullable<ComplianceBundle["goal"]> | null {
  const admitted = entries[0]?.entry.data as EntryData<"run.admitted">;
  if (!isTraced(admitted)) return null;
  const trace = RunTrace.of(
    entries.map(({ entry }) => entry),
    (one) => one.isSealedAs(seal),
  );
  const { head, steps } = trace;
  if (head === null || stored === null || sha256Hex(stored) !== admitted.plan_digest) {
    const text = "The stored plan is not the one that the run was admitted with.";
    throw new SovereignError("ERR_LEDGER_CORRUPT", text, { expected: admitted.plan_digest });
  }
  const plan = parseCanonicalJson(stored) as JsonObject;
  return { plan, trace: head, steps: [...steps], integrity: trace.seal() };
}

/** The chain of steps that the run's proof names. Whoever verifies the bundle judges the proof. */
function sealIn(
  entries: readonly PlacedEntry[],
  envelopes: ReadonlyMap<string, Envelope>,
): TraceSeal | undefined {
  const last = entries.at(-1)?.entry;
  if (last?.event_type !== "run.sealed") return undefined;
  const envelope = envelopes.get((last.data as EntryData<"run.sealed">).envelopes.run_proof);
  if (envelope === undefined) return undefined;
  try {
    return parseStatement(base64Decode(envelope.payload), "run-proof").predicate.trace;
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return undefined;
  }
}

function manifestOf(
  request: BundleRequest,
  first: PlacedEntry,
  sections: Sections,
): ComplianceBundle["manifest"] {
  const digest = (section: unknown): string => digestOf(section as JsonValue);
  const { mode } = first.entry.data as EntryData<"run.admitted">;
  return {
    installation_id: request.installationId,
    tenant_id: request.tenantId,
    run_id: request.runId,
    mode,
    counts: {
      entries: sections.entries.length,
      key_log: sections.key_log.length,
      envelopes: Object.keys(sections.envelopes).length,
      artifacts: sections.artifacts.length,
    },
    sections: {
      entries: digest(sections.entries),
      key_log: digest(sections.key_log),
      envelopes: digest(sections.envelopes),
      artifacts: digest(sections.artifacts),
      logs: digest(sections.logs),
      ...(sections.goal === undefined ? {} : { goal: digest(sections.goal) }),
    },
  };
}

/**
 * All entries of a run, checked.
 *
 * @param known what was read of its stream already, from the first entry on: entries are never changed
 * @throws ERR_LEDGER_CORRUPT
 */
export async function readEntries(
  ledger: Pick<LedgerReader, "readStream">,
  tenantId: string,
  runId: string,
  known: readonly StoredEntry[] = [],
): Promise<PlacedEntry[]> {
  const rest = collect(ledger.readStream(tenantId, runId, known.length));
  return [...known.map(entryToShow), ...(await rest)];
}

async function collect(stored: AsyncIterable<StoredEntry>): Promise<PlacedEntry[]> {
  const entries: PlacedEntry[] = [];
  for await (const one of stored) entries.push(entryToShow(one));
  return entries;
}

/** The key log that the evidence rests on: as far as the seal says, else as far as it was used. */
function keyLogCount(entries: readonly PlacedEntry[]): number {
  let count = 0;
  for (const { entry } of entries) {
    const { key_epoch: epoch } = entry.data;
    if (typeof epoch === "number") count = Math.max(count, epoch);
  }
  return count;
}

async function envelopesOf(
  ledger: LedgerReader,
  log: string,
  entries: readonly PlacedEntry[],
): Promise<Map<string, Envelope>> {
  const digests = new Set<string>();
  for (const { entry } of entries) {
    const named = entry.data["envelopes"];
    if (typeof named !== "object" || named === null) continue;
    for (const digest of Object.values(named)) {
      if (typeof digest === "string") digests.add(digest);
    }
  }
  const found = await ledger.readEnvelopes(log, [...digests]);
  return new Map([...found].map(([digest, bytes]) => [digest, parseEnvelope(bytes)]));
}

async function logEvidence(
  ledger: LedgerReader,
  log: string,
  originName: string,
  installationId: string,
  entries: readonly PlacedEntry[],
): Promise<ComplianceBundle["logs"]["tenant"]> {
  const size = (entries.at(-1)?.index ?? -1) + 1;
  const checkpoint = await ledger.checkpointCovering(log, size);
  if (checkpoint === null) {
    throw new SovereignError(
      "ERR_CHECKPOINT_MISSING",
      `The log ${log} has no checkpoint over ${size} entries yet.`,
      { log, size },
    );
  }
  const indices = entries.map((entry) => entry.index);
  const proof = await ledger.proveInclusionSet(log, checkpoint.size, indices);
  return {
    origin: logOrigin(installationId, originName),
    checkpoint: checkpoint.note,
    proof: proof.map((hash) => hexEncode(hash)),
  };
}

/** A log's origin line: `sovereign/<installation>/tenant/<tenant>` or `…/installation`. */
export function logOrigin(installationId: string, log: string): string {
  return `sovereign/${installationId}/${log}`;
}

const NAMING_ARTIFACTS: ReadonlySet<string> = new Set(["execution.completed", "evidence.recorded"]);

async function artifactsOf(
  request: BundleRequest,
  entries: readonly PlacedEntry[],
): Promise<ComplianceBundle["artifacts"]> {
  const naming = entries.filter(({ entry }) => NAMING_ARTIFACTS.has(entry.event_type));
  const refs = naming.flatMap(
    ({ entry }) => (entry.data as EntryData<"evidence.recorded">).artifacts,
  );
  return Promise.all(refs.map((ref) => withContent(request, ref)));
}

async function withContent(
  request: BundleRequest,
  artifact: ArtifactRef,
): Promise<ComplianceBundle["artifacts"][number]> {
  if (request.readArtifact === null) return artifact;
  const bytes = await request.readArtifact(artifact);
  if (sha256Hex(bytes) !== artifact.sha256) {
    throw new SovereignError(
      "ERR_ARTIFACT_CHANGED",
      `The artifact ${artifact.name} is no longer what the evidence names.`,
      { name: artifact.name, expected: artifact.sha256 },
    );
  }
  return { ...artifact, content: base64Encode(bytes) };
}

function sorted(envelopes: ReadonlyMap<string, Envelope>): Record<string, Envelope> {
  return Object.fromEntries([...envelopes].sort(([a], [b]) => (a < b ? -1 : 1)));
}
