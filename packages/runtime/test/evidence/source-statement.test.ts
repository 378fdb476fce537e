import {
  canonicalize,
  type ComplianceBundle,
  type EntryData,
  type JsonObject,
  type JsonValue,
  type PlacedEntry,
  predicateType,
  SOURCE_SUMMARY_TYPE,
  type SourceStatement,
  sourceStatementOf,
  utf8Encode,
} from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { describe, expect, it } from "vitest";
import { judge, RUN } from "../support/evidence.ts";
import { EXAMPLE, MOVED, sourceWorld, type Told } from "../support/source-evidence.ts";

const { BASE, HEAD, TREE } = MOVED;
const COMMITS: readonly string[] = [HEAD];

/** The bundle of such a run, and what it says of its commit. */
async function told(what: Told = {}): Promise<{
  bundle: ComplianceBundle;
  trustRoot: Uint8Array;
  statement: SourceStatement | null;
}> {
  const { made, statement } = await sourceWorld(what);
  const found = { bundle: await made.bundle(), trustRoot: made.trustRoot(), statement };
  made.dispose();
  return found;
}

describe("a statement about the commit that a run brought to a branch", () => {
  it("says level 4 where two people approved, and is VALID with the file beside it", async () => {
    const { bundle, trustRoot, statement } = await told();
    expect(statement?.subject[0]).toMatchObject({
      uri: `urn:sovereign:run:${RUN}`,
      digest: { gitCommit: HEAD, gitTree: TREE },
      annotations: { sourceRefs: ["refs/heads/main"] },
    });
    expect(statement?.predicate.verifiedLevels).toEqual(["SLSA_SOURCE_LEVEL_4"]);
    expect(judge(bundle, trustRoot)).toEqual({ verdict: "VALID", failures: {} });
    const [, own] =
      Object.entries(bundle.envelopes).find(([digest]) => isSource(bundle, digest)) ?? [];
    const bytes = utf8Encode(canonicalize(bundle as unknown as JsonValue));
    const beside = (text: string): string =>
      verifyBundle(bytes, { trustRoot, source: utf8Encode(text) }).verdict;
    const line = canonicalize(own as unknown as JsonValue);
    expect(beside(`${line}\n`)).toBe("VALID");
    for (const other of [line.replace(/"sig":"./, '"sig":"_'), "{}", "", `${line}\n${line}`]) {
      expect(beside(other)).toBe("INVALID");
    }
  });

  it("says less where fewer people were asked, or policy merely observed", async () => {
    const { bundle } = await told();
    const levelOf = (change: (data: EntryData<"execution.authorized">) => JsonObject): unknown => {
      const entries = bundle.entries.map((placed): PlacedEntry => {
        const { entry } = placed;
        if (entry.event_type !== "execution.authorized") return placed;
        const data = entry.data as EntryData<"execution.authorized">;
        const decision = { ...data.decision, ...change(data) };
        return { ...placed, entry: { ...entry, data: { ...data, decision } } };
      });
      const made = sourceStatementOf(entries, { status: "PASS", sha256: "0".repeat(64) });
      return made?.predicate.verifiedLevels[0];
    };
    const roles = ["release_manager", "safety_officer"];
    const asked = (required: number) => ({ approvals: { required, roles } });
    expect(levelOf(() => ({}))).toBe("SLSA_SOURCE_LEVEL_4");
    expect(levelOf(() => asked(1))).toBe("SLSA_SOURCE_LEVEL_3");
    const onePerson = ["release_manager", "re1ease-manager"];
    const twice = { approvals: { required: 2, roles: onePerson } };
    expect(levelOf(() => twice)).toBe("SLSA_SOURCE_LEVEL_3");
    expect(levelOf(() => ({ effect: "allow", approvals: null }))).toBe("SLSA_SOURCE_LEVEL_3");
    const once = ({ action }: EntryData<"execution.authorized">): JsonObject =>
      action.type === "model.train" ? { observed: true } : {};
    expect(levelOf(once)).toBe("SLSA_SOURCE_LEVEL_2");
  });

  it("is not made where gates fail, or nothing came to the branch", async () => {
    expect((await told({ status: "FAIL" })).statement).toBeNull();
    expect((await told({ commits: [] })).statement).toBeNull();
  });

  const lies: Readonly<Record<string, Told>> = {
    "another commit": { lie: (one) => about(one, { digest: { gitCommit: BASE, gitTree: TREE } }) },
    "another tree": { lie: (one) => about(one, { digest: { gitCommit: HEAD, gitTree: BASE } }) },
    "another branch": {
      lie: (one) => about(one, { annotations: { sourceRefs: ["refs/heads/release"] } }),
    },
    "another run": { lie: (one) => about(one, { uri: "urn:sovereign:run:other" }) },
    "a higher level than was proved": {
      commits: COMMITS,
      lie: (one) => saying(one, { verifiedLevels: ["SLSA_SOURCE_LEVEL_3"] }),
    },
    "another policy": {
      lie: (one) =>
        saying(one, {
          policy: { uri: "urn:sovereign:policy:x", digest: { sha256: "0".repeat(64) } },
        }),
    },
    "another time": { lie: (one) => saying(one, { timeVerified: "2020-01-01T00:00:00.000Z" }) },
    "another installation": { lie: (one) => saying(one, { verifier: { id: "urn:sovereign:x" } }) },
    "a receipt that is not the run's": {
      lie: (one) =>
        saying(one, {
          inputAttestations: [
            { uri: predicateType("gate-receipt"), digest: { sha256: "0".repeat(64) } },
          ],
        }),
    },
    "a field more": { lie: (one) => saying(one, { dependencyLevels: {} }) },
    "gates that failed": { status: "FAIL", lie: () => EXAMPLE },
    "no commit that came to the branch": { commits: [], lie: () => EXAMPLE },
    "a second statement": { twice: true },
  };
  for (const [what, lie] of Object.entries(lies)) {
    it(`is INVALID with ${what}`, async () => {
      const { bundle, trustRoot } = await told(lie);
      expect(judge(bundle, trustRoot).verdict).toBe("INVALID");
    });
  }
});

function about(statement: SourceStatement, change: object): unknown {
  return { ...statement, subject: [{ ...statement.subject[0], ...change }] };
}

function saying(statement: SourceStatement, change: object): unknown {
  return { ...statement, predicate: { ...statement.predicate, ...change } };
}

function isSource({ entries }: ComplianceBundle, digest: string): boolean {
  return entries.some(
    ({ entry }) =>
      entry.data["predicate_type"] === SOURCE_SUMMARY_TYPE &&
      Object.values(entry.data["envelopes"] as object).includes(digest),
  );
}
