import {
  type EntryData,
  type JsonObject,
  type KeyPurpose,
  type PlacedEntry,
  SOURCE_SUMMARY_TYPE,
  type Statement,
} from "@sovereign/core";
import type { Forgery } from "../../packages/runtime/test/support/forger.ts";
import { all, edit, inside, nothing, type Row, sealed } from "./row.ts";

const ATTESTATION = ["attestation", null] as const;
const OTHER = "9".repeat(64);

type By = readonly [KeyPurpose, string | null];

const source = (one: Forgery): PlacedEntry => one.entry("attestation.issued", 2);

/** What the statement about a commit says, as a whole. */
function sourceRow(
  what: string,
  change: (statement: JsonObject) => void,
  by: By = ATTESTATION,
): Row {
  return all(
    `a statement about a commit with ${what}`,
    async (one) => {
      const statement = structuredClone(one.statement(source(one), "source"));
      change(statement);
      await one.sign(source(one), "source", statement, by);
    },
    "source",
  );
}

const subjectOf = (statement: JsonObject): JsonObject =>
  (statement["subject"] as JsonObject[])[0] as JsonObject;
const saidOf = (statement: JsonObject): JsonObject => inside(statement, "predicate");

/** Forgeries of what a run says of the commit that it brought to a branch. */
export const OF_SOURCES: readonly Row[] = [
  {
    ...nothing("a higher commit in a statement about a commit, not signed", (one) => {
      const envelope = structuredClone(one.envelope(source(one), "source"));
      const text = Buffer.from(envelope.payload, "base64").toString("utf8");
      envelope.payload = Buffer.from(text.replace("2".repeat(40), "4".repeat(40))).toString(
        "base64",
      );
      one.put(source(one), "source", envelope);
      one.rechain();
      one.remanifest();
    }),
    base: "source",
  },
  sealed(
    "the statement about a commit twice",
    (one) => {
      one.bundle.entries.splice(-1, 0, structuredClone(source(one)));
    },
    "source",
  ),
  sealed(
    "the statement about a commit before the receipt of the gates",
    (one) => {
      const { entries } = one.bundle;
      const at = entries.indexOf(source(one));
      entries.splice(at - 1, 2, ...entries.slice(at - 1, at + 1).reverse());
    },
    "source",
  ),
  sealed(
    "another commit than the statement about it has",
    (one) => {
      const back = one.bundle.entries.find(
        ({ entry }) =>
          entry.event_type === "execution.completed" && entry.data["step_id"] === "bring_back",
      );
      if (back === undefined) throw new Error("nothing was brought back");
      back.entry.data = structuredClone(back.entry.data);
      inside(back.entry.data, "output")["head"] = "4".repeat(40);
    },
    "source",
  ),
  sealed(
    "a statement about a commit that is said to be a receipt",
    (one) => {
      source(one).entry.data["predicate_type"] = "urn:sovereign:attestation:gate-receipt:v1";
    },
    "source",
  ),
  {
    ...sealed(
      "a statement about a commit left out",
      (one) => {
        one.bundle.entries.splice(one.bundle.entries.indexOf(source(one)), 1);
      },
      "source",
    ),
    verdict: "VALID",
  },
  sourceRow(
    "another commit",
    (one) => (inside(subjectOf(one), "digest")["gitCommit"] = "4".repeat(40)),
  ),
  sourceRow(
    "another tree",
    (one) => (inside(subjectOf(one), "digest")["gitTree"] = "4".repeat(40)),
  ),
  sourceRow("another run", (one) => (subjectOf(one)["uri"] = "urn:sovereign:run:other")),
  sourceRow("another branch", (one) => {
    subjectOf(one)["annotations"] = { sourceRefs: ["refs/heads/release"] };
  }),
  sourceRow("another level", (one) => (saidOf(one)["verifiedLevels"] = ["SLSA_SOURCE_LEVEL_3"])),
  sourceRow("another time", (one) => (saidOf(one)["timeVerified"] = "2020-01-01T00:00:00.000Z")),
  sourceRow("another verifier", (one) => (saidOf(one)["verifier"] = { id: "urn:sovereign:x" })),
  sourceRow("another resource", (one) => (saidOf(one)["resourceUri"] = "urn:sovereign:x")),
  sourceRow("another policy", (one) => {
    saidOf(one)["policy"] = { uri: `urn:sovereign:policy:${OTHER}`, digest: { sha256: OTHER } };
  }),
  sourceRow("another receipt", (one) => {
    const uri = "urn:sovereign:attestation:gate-receipt:v1";
    saidOf(one)["inputAttestations"] = [{ uri, digest: { sha256: OTHER } }];
  }),
  sourceRow("a field more", (one) => (saidOf(one)["dependencyLevels"] = {})),
  sourceRow("a subject more", (one) => {
    one["subject"] = [subjectOf(one), subjectOf(one)];
  }),
  sourceRow("the signature of a role", () => undefined, ["role", "deployer"]),
  sourceRow("the signature of the seal's key", () => undefined, ["seal", null]),
  all(
    "an approval in the place of a statement about a commit",
    (one) => {
      const approved = one.entry("execution.authorized", 1);
      one.put(source(one), "source", one.envelope(approved, "approval_1"));
    },
    "source",
  ),
  all(
    "a statement about a commit after gates that failed",
    async (one) => {
      const receipt = one.entry("attestation.issued", 1);
      receipt.entry.data["status"] = "FAIL";
      await one.resign(
        receipt,
        "receipt",
        ({ predicate }) => (predicate["status"] = "FAIL"),
        ATTESTATION,
      );
    },
    "source",
  ),
  all(
    "the statement about a commit as another predicate type",
    async (one) => {
      const entry = source(one);
      entry.entry.data["predicate_type"] = "https://slsa.dev/provenance/v1";
      const statement = { ...one.statement(entry, "source"), predicateType: SOURCE_SUMMARY_TYPE };
      await one.sign(entry, "source", statement, ATTESTATION);
    },
    "source",
  ),
];

const votes = (one: Forgery): PlacedEntry => one.entry("attestation.issued", 1);
const end = (one: Forgery): PlacedEntry => one.entry("consensus.reached", 1);
const ROLES = ["trainer", "deployer"] as const;

type Body = Statement & { predicate: JsonObject };

/** Both votes signed anew, with the same change. */
function voteRow(what: string, change: (statement: Body) => void, by?: By): Row {
  return all(
    `votes on a result with ${what}`,
    async (one) => {
      for (const [at, role] of ROLES.entries()) {
        await one.resign(votes(one), `vote_${at + 1}`, change, by ?? ["role", role]);
      }
    },
    "compare",
  );
}

/** What is recorded of the ballot, another. */
function endRow(what: string, change: (data: JsonObject) => void): Row {
  return sealed(
    `a ballot on a result with ${what}`,
    (one) => {
      edit(one, "consensus.reached", change, 1);
    },
    "compare",
  );
}

const claimsIn = ({ predicate }: Body): JsonObject => inside(predicate, "claims");

/** The snapshot says otherwise what results are held to, or who votes. */
function ballotRow(what: string, change: (ballots: JsonObject) => void): Row {
  return all(
    `a ballot on a result under ${what}`,
    async (one) => {
      const first = one.entry("run.admitted");
      await one.resign(
        first,
        "config_snapshot",
        ({ predicate }) => {
          change(inside(predicate, "ballots"));
        },
        ["config", null],
      );
    },
    "compare",
  );
}

/** Forgeries of what compared agents' validators found. */
export const OF_BALLOTS: readonly Row[] = [
  {
    ...nothing("a vote on a result, not signed", (one) => {
      const envelope = structuredClone(one.envelope(votes(one), "vote_1"));
      const text = Buffer.from(envelope.payload, "base64").toString("utf8");
      envelope.payload = Buffer.from(text.replace('"approve"', '"reject"')).toString("base64");
      one.put(votes(one), "vote_1", envelope);
      one.rechain();
      one.remanifest();
    }),
    base: "compare",
  },
  {
    ...nothing("another verdict in the file of a validator", (one) => {
      for (const file of one.bundle.artifacts) {
        if (file.content === undefined || !file.name.startsWith("candidate_1/")) continue;
        const text = Buffer.from(file.content, "base64").toString("utf8");
        file.content = Buffer.from(text.replace('"approve"', '"reject"')).toString("base64");
      }
      one.recount();
    }),
    base: "compare",
  },
  endRow("another status", (data) => (data["status"] = "SOVEREIGN_CONSENSUS_REFUSED")),
  endRow("another quorum", (data) => (data["quorum"] = 1)),
  endRow("an approval less", (data) => (data["approvals"] = ["trainer"])),
  endRow("another electorate", (data) => (data["electorate"] = ["trainer"])),
  endRow(
    "another result",
    (data) => (inside(inside(data, "claims"), "result")["commit"] = "6".repeat(40)),
  ),
  endRow("another digest of the claims", (data) => (data["claims_digest"] = OTHER)),
  endRow("a voter who is said to be silent", (data) => (data["silent"] = ["deployer"])),
  endRow("a fault that nobody committed", (data) => {
    const fault = { role: "deployer", key_ids: [], envelopes: [], kind: "equivocation" };
    data["faulty"] = [{ ...fault, differs: [] }];
  }),
  endRow("another name", (data) => (data["ballot"] = "ballot")),
  sealed(
    "a ballot on a result that is said to have failed",
    (one) => {
      end(one).entry.event_type = "consensus.failed";
    },
    "compare",
  ),
  sealed(
    "a vote on a result left out",
    (one) => {
      const { envelopes } = votes(one).entry.data as EntryData<"attestation.issued">;
      votes(one).entry.data["envelopes"] = { vote_1: envelopes["vote_1"] ?? "" };
    },
    "compare",
  ),
  sealed(
    "votes on a result under another ballot's name",
    (one) => {
      votes(one).entry.data["ballot"] = "ballot";
    },
    "compare",
  ),
  sealed(
    "a validator's action left out",
    (one) => {
      const { entries } = one.bundle;
      const stays = ({ entry: { data } }: PlacedEntry): boolean => {
        const context = data["context"] as JsonObject | undefined;
        return (context?.["step_id"] ?? data["step_id"]) !== "candidate_1.deployer";
      };
      entries.splice(0, entries.length, ...entries.filter(stays));
    },
    "compare",
  ),
  voteRow("the other verdict", ({ predicate }) => (predicate["verdict"] = "reject")),
  voteRow("a command that failed", (one) => {
    claimsIn(one)["verify"] = [{ argv: ["npm", "test"], code: "ERR_COMMAND_FAILED" }];
  }),
  voteRow("a command left out", (one) => (claimsIn(one)["verify"] = [])),
  voteRow("another patch", (one) => {
    claimsIn(one)["artifacts"] = { result: { given: OTHER, derived: OTHER } };
  }),
  voteRow("other limits", (one) => (inside(claimsIn(one), "acceptance")["verify"] = [])),
  voteRow("a claim more", (one) => (claimsIn(one)["more"] = 1)),
  voteRow("another file", (one) => {
    one.predicate["output_digest"] = OTHER;
    if (one.subject[0] !== undefined) one.subject[0].digest.sha256 = OTHER;
  }),
  voteRow("another file's name", (one) => {
    if (one.subject[0] !== undefined) one.subject[0].name = "other.json";
  }),
  voteRow("another ballot", ({ predicate }) => (predicate["ballot"] = "ballot")),
  voteRow("another run", ({ predicate }) => (predicate["run_id"] = `run_${"b".repeat(20)}`)),
  voteRow("one voter's role and key", ({ predicate }) => (predicate["role"] = "trainer"), [
    "role",
    "trainer",
  ]),
  voteRow("one voter's key", () => undefined, ["role", "trainer"]),
  voteRow("the key of attestations", () => undefined, ["attestation", null]),
  ballotRow("a smaller electorate", (ballots) => {
    inside(ballots, "candidate_1")["electorate"] = ["trainer"];
  }),
  ballotRow("other limits", (ballots) => {
    inside(inside(ballots, "candidate_1"), "acceptance")["verify"] = [["true"]];
  }),
  ballotRow("limits with a field more", (ballots) => {
    inside(inside(ballots, "candidate_1"), "acceptance")["more"] = true;
  }),
  ballotRow("no such ballot", (ballots) => {
    Reflect.deleteProperty(ballots, "candidate_1");
  }),
];
