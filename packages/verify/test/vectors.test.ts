import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isSovereignError, type JsonObject, parseStrictJson } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { describe, expect, it } from "vitest";
import { judgeAudit } from "./support/audit-file.ts";

const ROOT = join(import.meta.dirname, "../../../test/vectors/evidence");

interface Vector {
  readonly file: string;
  readonly trust: string | null;
  readonly level: "sovereign" | "compatible";
  readonly verdict: string;
  readonly at: { readonly step: string; readonly place: string } | null;
  readonly what: string;
  readonly held: string;
}

const index = parseStrictJson(readFileSync(join(ROOT, "index.json"))) as JsonObject;
const VECTORS = index["vectors"] as unknown as Vector[];

interface AuditVector {
  readonly file: string;
  readonly checkpoint: string | null;
  readonly trust: string | null;
  readonly verdict: string;
  readonly place: string | null;
  readonly what: string;
  readonly held: string;
}

const AUDITS = index["audits"] as unknown as AuditVector[];

function judge({ file, trust, level }: Vector): Pick<Vector, "verdict" | "at"> {
  const trustRoot = trust === null ? null : readFileSync(join(ROOT, trust));
  try {
    const report = verifyBundle(readFileSync(join(ROOT, file)), { trustRoot, level });
    const bad = report.steps.find((step) => step.first_failure !== null);
    const place = bad?.first_failure?.place;
    const at = bad === undefined || place === undefined ? null : { step: bad.name, place };
    return { verdict: report.verdict, at };
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return { verdict: "refused", at: null };
  }
}

describe("recorded and forged evidence", { timeout: 240_000 }, () => {
  it.each(["genuine", "nothing", "checkpoint and seal", "all keys"])(
    "made with %s has the verdict of the index, at its place",
    (held) => {
      const rows = VECTORS.filter((one) => one.held === held);
      expect(rows.length).toBeGreaterThan(10);
      for (const row of rows) {
        const { file, verdict, at } = row;
        expect({ file, ...judge(row) }).toEqual({ file, verdict, at });
      }
    },
  );

  it("is never VALID where no key was stolen, and else where the specification says so alone", () => {
    const accepted = VECTORS.filter((one) => one.held !== "genuine" && one.verdict === "VALID");
    expect(accepted.map(({ held, what }) => `${held}: ${what}`)).toEqual([
      "checkpoint and seal: an output that nothing else was signed over",
      "checkpoint and seal: a refusal left out",
      "all keys: a receipt that names another time of its judgement",
      "all keys: another decision, signed by the authority's key",
      "checkpoint and seal: an effect that happened and is said to have failed",
      "all keys: a decision that asks nobody any more, signed anew",
      "checkpoint and seal: a statement about a commit left out",
      "checkpoint and seal: an output of a goal's step, with a root that fits",
      "checkpoint and seal: a refused attempt of a goal's step left out",
      "checkpoint and seal: a goal that is said to have failed",
      "all keys: a goal whose plan has a step less than were done",
      "all keys: a goal that is passed off as a pipeline",
      "all keys: consent of release_manager and of auditor, enrolled for it",
    ]);
  });
});

describe("recorded and forged audit files", { timeout: 60_000 }, () => {
  it("have the verdicts of the index, at their places", async () => {
    expect(AUDITS.length).toBeGreaterThan(40);
    for (const row of AUDITS) {
      const { file, verdict, place } = row;
      expect({ file, ...(await judgeAudit(ROOT, row)) }).toEqual({ file, verdict, place });
    }
  });

  it("are VALID under a head alone, and where they are wrong under a stolen key's alone", () => {
    const valid = AUDITS.filter((one) => one.verdict === "VALID");
    expect(valid.filter((one) => one.checkpoint === null)).toEqual([]);
    expect(valid.filter((one) => one.held !== "genuine").map((one) => one.what)).toEqual([
      "another history with a head by the stolen key",
    ]);
  });
});

describe("the specification's table of forgeries", () => {
  it("counts what the index lists", () => {
    const page = readFileSync(join(ROOT, "../../../docs/spec/evidence.md"), "utf8");
    for (const [held, words] of [
      ["nothing", "nothing"],
      ["checkpoint and seal", "the keys that sign heads and seals"],
      ["all keys", "all keys"],
    ] as const) {
      const tried = VECTORS.filter((one) => one.held === held);
      const accepted = tried.filter((one) => one.verdict === "VALID");
      expect(page).toContain(`| ${words} | ${tried.length} | ${accepted.length} |`);
    }
  });
});
