import {
  digestOf,
  evaluateGates,
  type JsonObject,
  type JsonValue,
  type PlacedEntry,
  predicateType,
  readGateInputs,
  SOURCE_SUMMARY_TYPE,
  type SourceStatement,
  sourceStatementOf,
} from "@sovereign/core";
import { readRun } from "../../src/ledger/index.ts";
import type { RunSession } from "../../src/runs/index.ts";
import { EvidenceWorld, RUN } from "./evidence.ts";
import type { World } from "./world.ts";

const [BASE, HEAD, TREE] = ["1", "2", "3"].map((digit) => digit.repeat(40)) as [
  string,
  string,
  string,
];
/** Where the branch was, where it is, and the tree there. */
export const MOVED = { BASE, HEAD, TREE } as const;
const NAME = "01_intent/status.json";
const DIGESTS = { status_before: "d".repeat(64), status_after: "d".repeat(64) };

export interface Told {
  /** Of the gates. */
  readonly status?: "PASS" | "FAIL";
  readonly commits?: readonly string[];
  /** What is signed in the place of what the entries prove. */
  readonly lie?: (statement: SourceStatement) => unknown;
  readonly twice?: true;
}

/** A sealed run that brought one commit to a branch with two approvals, and what it says of it. */
export async function sourceWorld(
  told: Told = {},
): Promise<{ readonly made: EvidenceWorld; readonly statement: SourceStatement | null }> {
  let statement: SourceStatement | null = null;
  const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, world, store) => {
    await bringBack(session, world, told.commits ?? [HEAD]);
    const entries = async (): Promise<PlacedEntry[]> => {
      const found: PlacedEntry[] = [];
      for await (const placed of readRun(store, "acme", RUN)) found.push(placed);
      return found;
    };
    statement = await tell(session, world, entries, told);
  });
  return { made, statement };
}

async function bringBack(
  session: RunSession,
  world: World,
  commits: readonly string[],
): Promise<void> {
  const output = { base: BASE, head: HEAD, tree: TREE, commits: [...commits], ...DIGESTS };
  const usage = { wall_ms: 1, output_bytes: 0 };
  world.result = { status: "completed", output: output as JsonValue, artifacts: [], usage };
  const about = { step_id: "step_01", sha256: "a".repeat(64), bytes: 9 };
  const patches = [{ ...about, commit: HEAD, tree: TREE }];
  const params = { request_digest: "b".repeat(64), review: false, base: BASE, patches };
  const action = {
    type: "git.bring_back",
    resource: "refs/heads/main",
    params: params as JsonObject,
  };
  await session.perform({ stepId: "bring_back", role: "deployer", action });
}

/** The receipt of the gates, and what the entries prove after it. */
async function tell(
  session: RunSession,
  { authority, clock }: World,
  entries: () => Promise<PlacedEntry[]>,
  { status = "PASS", lie, twice }: Told,
): Promise<SourceStatement | null> {
  const sha256 = "c".repeat(64);
  await session.recordEvidence([{ name: NAME, sha256, bytes: 2, media_type: "application/json" }]);
  const evaluated_at = clock.now().toISOString();
  const { results } = evaluateGates(readGateInputs(new Map(), []));
  const receipt = { run_id: RUN, status, results, inputs: { [NAME]: sha256 }, evaluated_at };
  const about = [{ name: RUN, sha256: digestOf(receipt.results) }];
  const kind = "gate-receipt";
  const signed = await authority.issue(kind, about, receipt, "attestation", null);
  await session.attest(predicateType(kind), () => Promise.resolve({ receipt: signed }), { status });
  const statement = sourceStatementOf(await entries(), { status, sha256: digestOf(signed) });
  if (statement === null && lie === undefined) return null;
  const said = lie === undefined ? statement : lie(statement ?? EXAMPLE);
  for (let time = 0; time < (twice === true ? 2 : 1); time++) {
    const source = await authority.issueSource(said as SourceStatement);
    await session.attest(SOURCE_SUMMARY_TYPE, () => Promise.resolve({ source }));
  }
  return statement;
}

/** One of the right form, of no run. */
export const EXAMPLE: SourceStatement = {
  _type: "https://in-toto.io/Statement/v1",
  subject: [
    {
      uri: `urn:sovereign:run:${RUN}`,
      digest: { gitCommit: HEAD, gitTree: TREE },
      annotations: { sourceRefs: ["refs/heads/main"] },
    },
  ],
  predicateType: "https://slsa.dev/verification_summary/v1",
  predicate: {
    verifier: { id: "urn:sovereign:installation:x" },
    timeVerified: "2026-01-01T00:00:00.000Z",
    resourceUri: "urn:sovereign:installation:x",
    policy: { uri: "urn:sovereign:policy:x", digest: { sha256: "0".repeat(64) } },
    inputAttestations: [{ uri: predicateType("gate-receipt"), digest: { sha256: "0".repeat(64) } }],
    verificationResult: "PASSED",
    verifiedLevels: ["SLSA_SOURCE_LEVEL_3"],
    slsaVersion: "1.2",
  },
};
