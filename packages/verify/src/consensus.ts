import {
  type BallotGiven,
  ballotRules,
  type CastVote,
  digestOf,
  type EntryData,
  type JsonValue,
  judgeVotes,
  type PlacedEntry,
  type Predicate,
} from "@sovereign/core";
import type { Evidence } from "./evidence.ts";
import { type DoneStep, inputsOf, type RunStory } from "./run-story.ts";
import { envelopesOf } from "./signatures.ts";
import { expectEqual, wrong } from "./step-recorder.ts";

type Ballots = NonNullable<Predicate<"config-snapshot">["ballots"]>;

/** The votes of a ballot, and how often they were judged. */
interface Cast {
  readonly votes: readonly CastVote[];
  judged: number;
}

interface Given {
  readonly given: BallotGiven;
  readonly digest: string;
}

/** Once, and once more for each time that a run was taken up at the wrong moment. */
const JUDGEMENTS_MAX = 8;

/** Compared before any list is walked: an entry is short, and what it is held against may be long. */
const VOTERS = "The number of voters";

/** The ballots of a run: the votes that count, and what they decided. */
export class RunBallots {
  readonly #evidence: Evidence;
  readonly #story: RunStory;
  /** As they were signed before the run began; null in evidence from before that was done. */
  readonly #declared: Ballots | null;
  readonly #votes = new Map<string, Cast>();
  /** What each action that judges was given: many judgements may ask for it. */
  readonly #inputs = new WeakMap<DoneStep, Given>();
  /** Ballot → SHA-256 of the model that a quorum approved. */
  readonly #approved = new Map<string, string>();

  constructor(evidence: Evidence, story: RunStory, declared: Ballots | null) {
    this.#evidence = evidence;
    this.#story = story;
    this.#declared = declared;
  }

  get votes(): number {
    return [...this.#votes.values()].reduce((sum, { votes }) => sum + votes.length, 0);
  }

  /** All votes of a ballot stand in one entry; a run that was resumed may cast them again. */
  cast(entry: PlacedEntry): void {
    const { ballot } = this.#evidence.events.data(entry, "attestation.issued");
    if (ballot === undefined) throw wrong("The votes name no ballot.");
    const votes = envelopesOf(entry).map(([, digest]) => this.#vote(entry, ballot, digest));
    this.#votes.set(ballot, { votes, judged: 0 });
  }

  #vote(entry: PlacedEntry, ballot: string, digest: string): CastVote {
    const { predicate, subject, keyId } = this.#evidence.open(digest, "vote", entry);
    const { role, verdict, claims, output_digest: output } = predicate;
    expectEqual(predicate.run_id, entry.entry.run_id, "The vote's run");
    expectEqual(predicate.ballot, ballot, "The vote's ballot");
    const step = this.#judge(ballot, role);
    const file = step?.completed?.artifacts.find((one) => one.sha256 === output);
    if (file === undefined) throw wrong(`${ballot}.${role} did not write the vote of ${role}.`);
    expectEqual(subject[0]?.name, file.name, "The vote's subject");
    this.#evidence.withContent(file, (content) => {
      const written = content as { verdict?: JsonValue; claims?: JsonValue } | null;
      expectEqual(written?.verdict, verdict, "The verdict in the file that the agent wrote");
      const found = digestOf(written?.claims ?? null);
      expectEqual(found, digestOf(claims), "The claims in the file that the agent wrote");
    });
    return { role, keyId, envelope: digest, verdict, claims };
  }

  /** The judgement is made again from the votes: nothing that the entry says of it is believed. */
  judge(entry: PlacedEntry): void {
    const event = entry.entry.event_type as "consensus.reached" | "consensus.failed";
    const claimed = this.#evidence.events.data(entry, event);
    const { ballot } = claimed;
    const voters = this.#electorate(claimed);
    const judges = voters.map((role) => {
      const step = this.#judge(ballot, role);
      if (step === null)
        throw wrong(`No action of ${role} in the ballot ${ballot} was authorised.`);
      return step;
    });
    const given = this.#given(ballot, judges);
    const votes = this.#judged(ballot);
    const found = judgeVotes(votes, { electorate: voters, ...ballotRules(given) });
    for (const [name, value] of Object.entries({ ballot, ...found } as Record<string, JsonValue>)) {
      const said = (claimed as Record<string, JsonValue>)[name] ?? null;
      const both = [said, value].map((one) => JSON.stringify(one));
      if (digestOf(said) !== digestOf(value)) expectEqual(both[0], both[1], `The ballot's ${name}`);
    }
    const reached = found.status === "SOVEREIGN_CONSENSUS_REACHED";
    expectEqual(event, reached ? "consensus.reached" : "consensus.failed", "The ballot's end");
    for (const role of found.silent) this.#mayBeSilent(ballot, role);
    const { model } = given.inputs;
    if (reached && model !== undefined) this.#approved.set(ballot, model);
    else this.#approved.delete(ballot);
  }

  #judged(ballot: string): readonly CastVote[] {
    const cast = this.#votes.get(ballot);
    if (cast === undefined) return [];
    cast.judged += 1;
    if (cast.judged <= JUDGEMENTS_MAX) return cast.votes;
    throw wrong(`The votes of ${ballot} are judged more often than a run judges them.`);
  }

  /** An agent whose program ended well has voted, or the run says why it did not. */
  #mayBeSilent(ballot: string, role: string): void {
    const completed = this.#judge(ballot, role)?.completed ?? null;
    if (completed === null || this.#story.abstained.has(role)) return;
    throw wrong(`${role} wrote a verdict, and its vote is left out.`);
  }

  /** A promotion that rests on a ballot promotes the model that the ballot approved. */
  promote({ params }: DoneStep): void {
    const { consensus, sha256 } = params;
    if (typeof consensus !== "string" || consensus === "none") return;
    expectEqual(this.#approved.get(consensus), sha256, `The model that ${consensus} approved`);
  }

  /** Who votes: as it was signed at the beginning, else whoever was authorised to judge. */
  #electorate({ ballot, electorate }: EntryData<"consensus.reached">): readonly string[] {
    const declared = this.#declared?.[ballot];
    if (this.#declared !== null && declared === undefined) {
      throw wrong(`The snapshot of the configuration has no ballot ${ballot}.`);
    }
    if (declared !== undefined) {
      expectEqual(electorate.length, declared.electorate.length, VOTERS);
      expectEqual(electorate.join(" "), declared.electorate.join(" "), "The electorate");
      return declared.electorate;
    }
    const judges = this.#story.judges(ballot);
    expectEqual(electorate.length, judges.size, VOTERS);
    const roles = [...judges.values()].map((step) => step.role).sort();
    expectEqual([...electorate].sort().join(" "), roles.join(" "), "The electorate");
    return electorate;
  }

  /** What all of them judge is the same. */
  #given(ballot: string, judges: readonly DoneStep[]): BallotGiven {
    const all = judges.map((step) => this.#givenTo(ballot, step));
    const [first] = all;
    if (first === undefined || all.some(({ digest }) => digest !== first.digest)) {
      throw wrong(`The agents of the ballot ${ballot} were not given the same.`);
    }
    return first.given;
  }

  #givenTo(ballot: string, step: DoneStep): Given {
    const known = this.#inputs.get(step);
    if (known !== undefined) return known;
    const declared = this.#declared?.[ballot];
    const { params: own, seed } = step.params;
    const acceptance = (own as { acceptance?: JsonValue } | null | undefined)?.acceptance ?? null;
    const given = {
      acceptance: declared === undefined ? acceptance : declared.acceptance,
      inputs: inputsOf(step),
      seed: typeof seed === "number" ? seed : 0,
    };
    const made = { given, digest: digestOf(given) };
    this.#inputs.set(step, made);
    return made;
  }

  #judge(ballot: string, role: string): DoneStep | null {
    const step = this.#story.steps.get(`${ballot}.${role}`);
    return step?.type === "agent.judge" && step.role === role ? step : null;
  }
}
