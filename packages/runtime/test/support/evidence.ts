import {
  type ApiCaller,
  type ArtifactRef,
  canonicalBytes,
  type CastVote,
  type ComplianceBundle,
  digestOf,
  type Envelope,
  GENESIS_HASH,
  hexEncode,
  INSTALLATION_LOG,
  type JsonObject,
  type JsonValue,
  judgeVotes,
  leafHash,
  type Mode,
  type PlacedEntry,
  parseCanonicalJson,
  predicateType,
  proveInclusionSet,
  type ResultAcceptance,
  sha256Hex,
} from "@sovereign/core";
import { type VerifyOptions, verifyBundle } from "@sovereign/verify";
import { EMPTY_STREAM, type StoredEntry, StreamWriter } from "../../src/ledger/index.ts";
import {
  type BundleRequest,
  exportBundle,
  logOrigin,
  type RunSession,
} from "../../src/runs/index.ts";
import { MemoryStore, rootOf } from "./memory-store.ts";
import { approvedBy, buildRun, INSTALLATION } from "./run-builder.ts";
import { keyEntry, PROMOTE, TRAIN, World } from "./world.ts";

export { INSTALLATION } from "./run-builder.ts";
export const RUN = `run_${"a".repeat(20)}`;

export const VOTERS = ["trainer", "deployer"];

/** What results of agents are held to in the ballot `candidate_1`. */
export const RESULT_ACCEPTANCE: ResultAcceptance = {
  kind: "agent_result",
  base: "9".repeat(40),
  verify: [["npm", "test"]],
};

/** The verdict that an agent of the run wrote, as an artifact. */
export function verdictFile(role: string): ArtifactRef & { readonly content: Uint8Array } {
  const content = canonicalBytes({ verdict: "approve", claims: { accuracy: 1 }, role });
  const sha256 = sha256Hex(content);
  const name = `ballot/${role}.verdict.json`;
  return { name, sha256, bytes: content.length, media_type: "application/json", content };
}

function refOf({ name, sha256, bytes, media_type }: ArtifactRef): ArtifactRef {
  return { name, sha256, bytes, media_type };
}

/** What a test adds to a run before it is sealed; it may say that the run failed. */
export type MoreOfARun = (
  session: RunSession,
  world: World,
  store: MemoryStore,
) => Promise<unknown>;

/** A run on real keys and a real kernel, over a store in memory, with its evidence. */
export class EvidenceWorld {
  readonly world: World;
  readonly store = new MemoryStore();
  /** The entries of the run that its seal read. */
  sealed: readonly StoredEntry[] = [];
  #more: MoreOfARun = () => Promise.resolve();
  readonly #plan: JsonObject;
  /** Who submitted the run over the network; nothing where nobody did. */
  readonly #submitter: { readonly caller?: ApiCaller };

  private constructor(world: World, plan: JsonObject, caller?: ApiCaller) {
    this.world = world;
    this.#plan = plan;
    this.#submitter = caller === undefined ? {} : { caller };
  }

  /**
   * @param notes how many entries to add to the run that say nothing
   * @param own a policy, or a plan, of the test's own
   */
  static async create(
    mode: Mode = "sovereign",
    runId = RUN,
    notes = 0,
    more: MoreOfARun = () => Promise.resolve(),
    {
      policy,
      plan = { steps: 2 },
      caller,
    }: { policy?: string; plan?: JsonObject; caller?: ApiCaller } = {},
  ): Promise<EvidenceWorld> {
    const made = new EvidenceWorld(await World.create(policy), plan, caller);
    made.#more = more;
    await made.#run(mode, runId, notes);
    return made;
  }

  /** Another run in the same tenant's log, so that indices are not the sequence numbers. */
  async #run(mode: Mode, runId: string, notes: number): Promise<void> {
    const { world, store } = this;
    await world.keyLog.rotate(world.keystore, world.keyIdOf("role", "deployer"), "yearly");
    await world.keyLog.revoke(world.keystore, world.keyIdOf("approval", "intruder"), "left", false);
    await this.#copyKeyLog();
    await this.#session("sovereign", `run_${"z".repeat(20)}`, null);
    await this.#session(mode, runId, notes);
    const signer = await world.authority.signer("checkpoint", null);
    store.sealCheckpoint("acme", logOrigin(INSTALLATION, "tenant/acme"), signer);
    store.sealCheckpoint(INSTALLATION_LOG, logOrigin(INSTALLATION, INSTALLATION_LOG), signer);
  }

  /** The world's key log lives in memory of its own: put it into the store's, as entries. */
  async #copyKeyLog(): Promise<void> {
    const { world, store } = this;
    const writer = new StreamWriter(store, INSTALLATION_LOG, "keys", EMPTY_STREAM);
    for (const entry of world.log.entries) {
      await writer.append(keyEntry(entry), { envelopes: [entry.envelope] });
    }
  }

  async #session(mode: Mode, runId: string, notes: number | null): Promise<void> {
    const { world, store } = this;
    const { session } = await buildRun(world, {
      store,
      plan: {
        runId,
        mode,
        plan: this.#plan,
        config: { seed: 1, ...this.#submitter },
        ...this.#submitter,
        ballots: {
          ballot: { electorate: VOTERS, acceptance: null },
          candidate_1: { electorate: VOTERS, acceptance: RESULT_ACCEPTANCE },
        },
      },
      kernel: { allowCompatible: true },
      approvals: approvedBy(world),
    });
    await session.admit();
    const artifact = { name: "model.json", sha256: GENESIS_HASH, bytes: 3, media_type: "x" };
    const usage = { wall_ms: 1, output_bytes: 3 };
    world.result = { status: "completed", output: null, artifacts: [artifact], usage };
    await session.perform({ stepId: "train", role: "trainer", action: TRAIN });
    if (notes === null) return;
    for (let note = 0; note < notes; note++) {
      await session.note("bench.noted", "INFO", { note, text: "x".repeat(200) });
    }
    world.result = { ...world.result, artifacts: [] };
    await session.perform({ stepId: "promote", role: "deployer", action: PROMOTE });
    await this.#vote(session, runId);
    const ended = await this.#more(session, world, store);
    const { entries } =
      ended === "failed"
        ? await session.seal("failed", "it was stopped")
        : await session.seal("completed", null);
    this.sealed = entries;
  }

  /** Two agents judge and agree; each writes its verdict, which its own key signs. */
  async #vote(session: RunSession, runId: string): Promise<void> {
    const { world } = this;
    const { authority, clock } = world;
    const votes: CastVote[] = [];
    const envelopes: Record<string, Envelope> = {};
    for (const role of VOTERS) {
      const content = { verdict: "approve" as const, claims: { accuracy: 1 } };
      const file = verdictFile(role);
      world.result = {
        status: "completed",
        output: null,
        artifacts: [refOf(file)],
        usage: { wall_ms: 1, output_bytes: file.bytes },
      };
      const params = {
        inputs: { model: { artifact: "model.json", sha256: GENESIS_HASH } },
        seed: 1,
      };
      const action = { type: "agent.judge", resource: role, params };
      await session.perform({ stepId: `ballot.${role}`, role, action });
      const cast_at = clock.now().toISOString();
      const about = { run_id: runId, ballot: "ballot", role, output_digest: file.sha256, cast_at };
      const subject = [{ name: file.name, sha256: file.sha256 }];
      const vote = await authority.issue("vote", subject, { ...about, ...content }, "role", role);
      envelopes[`vote_${votes.length + 1}`] = vote;
      const keyId = world.keyIdOf("role", role);
      votes.push({ role, keyId, envelope: digestOf(vote), ...content });
    }
    await session.attest(predicateType("vote"), () => Promise.resolve(envelopes), {
      ballot: "ballot",
    });
    const result = judgeVotes(votes, { electorate: VOTERS });
    await session.note("consensus.reached", "INFO", { ballot: "ballot", ...result });
  }

  async bundle(
    runId = RUN,
    readArtifact: BundleRequest["readArtifact"] = null,
  ): Promise<ComplianceBundle> {
    const bytes = await exportBundle({
      ledger: this.store,
      installationId: INSTALLATION,
      tenantId: "acme",
      runId,
      readArtifact,
      plan: canonicalBytes(this.#plan),
    });
    return parseCanonicalJson(bytes, { bytesMax: 2 ** 29 }) as unknown as ComplianceBundle;
  }

  trustRoot(): Uint8Array {
    return canonicalBytes(this.world.keyLog.trustRoot());
  }

  /** Everything that anybody can make again without a key: hashes, chain, proofs, manifest. */
  remake(bundle: ComplianceBundle, options: { chain?: boolean; proofs?: boolean } = {}): void {
    if (options.chain !== false) rechain(bundle.entries);
    if (options.proofs !== false) this.#reprove(bundle);
    const { manifest } = bundle;
    const counts = {
      entries: bundle.entries.length,
      key_log: bundle.key_log.length,
      envelopes: Object.keys(bundle.envelopes).length,
      artifacts: bundle.artifacts.length,
    };
    const sections = Object.fromEntries(
      Object.keys(manifest.sections).map((name) => [
        name,
        digestOf(bundle[name as keyof ComplianceBundle] as unknown as JsonValue),
      ]),
    );
    bundle.manifest = { ...manifest, counts, sections: sections as typeof manifest.sections };
  }

  #reprove(bundle: ComplianceBundle): void {
    const logs = [
      ["acme", "tenant", bundle.entries],
      [INSTALLATION_LOG, "installation", bundle.key_log],
    ] as const;
    for (const [log, section, entries] of logs) {
      const rows = this.store.logs.get(log) ?? [];
      const leaves = rows.map((row) => leafHash(row.bytes));
      const indices = entries.map((entry) => entry.index);
      if (new Set(indices).size !== indices.length) continue;
      const sorted = [...indices].sort((a, b) => a - b);
      const proof = proveInclusionSet(leaves.length, sorted, (a, b) => rootOf(leaves, a, b));
      bundle.logs[section].proof = proof.map((hash) => hexEncode(hash));
    }
  }

  dispose(): void {
    this.world.dispose();
  }
}

/** Sequence numbers, previous hashes and hashes made to fit again. */
function rechain(entries: PlacedEntry[]): void {
  let previous = GENESIS_HASH;
  for (const [sequence, placed] of entries.entries()) {
    placed.entry = { ...placed.entry, sequence, previous_hash: previous };
    placed.hash = sha256Hex(canonicalBytes(placed.entry));
    previous = placed.hash;
  }
}

/** Verify, and say which step failed first and where. */
export function judge(
  bundle: ComplianceBundle,
  trustRoot: Uint8Array | null,
  level: VerifyOptions["level"] = "sovereign",
): { verdict: string; failures: Record<string, string> } {
  const bytes = canonicalBytes(bundle as unknown as JsonValue);
  const report = verifyBundle(bytes, { trustRoot, level });
  const failures = report.steps.flatMap((step) =>
    step.first_failure === null ? [] : [[step.name, step.first_failure.place] as const],
  );
  return { verdict: report.verdict, failures: Object.fromEntries(failures) };
}

/** An envelope of a bundle by the entry and the name that name it. */
export function envelopeAt(
  bundle: ComplianceBundle,
  sequence: number,
  name: string,
): { digest: string; envelope: Envelope } {
  const named = bundle.entries[sequence]?.entry.data["envelopes"] as Record<string, string>;
  const digest = named[name] as string;
  return { digest, envelope: bundle.envelopes[digest] as Envelope };
}
