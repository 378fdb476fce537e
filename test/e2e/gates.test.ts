import { execFileSync, spawn } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { GATES } from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliEnd, endOf, Installation, type Json, runEnded } from "./cli.ts";
import { killBefore } from "./kill-at-entry.ts";

/**
 * Every gate, failed by a real run through the command line. Documents of a sealed run cannot be
 * edited unseen, so what is edited belongs to a run whose end was cut off: its evidence is on disk,
 * and the ledger does not name it yet.
 */

const POLICY = {
  policy_id: "gates",
  schema_version: "1.0.0",
  allowed_git_operations: ["git_add", "git_commit"],
  allowlist: { file_operations: ["write_file", "update_file"], paths: ["notes.txt", "notes/**"] },
};
const STEPS = [
  { op_id: "note", action: "write_file", params: { path: "notes/a.txt", content: "a\n" } },
  { op_id: "list", action: "update_file", params: { path: "notes.txt", content: "base\na\n" } },
];

let installation: Installation;
let policy: string;
beforeAll(() => {
  installation = new Installation({ processes: "one" });
  policy = join(installation.home, "policy.json");
  writeFileSync(policy, JSON.stringify(POLICY));
});
afterAll(async () => {
  await installation.dispose();
});

/** A repository of the user's, and a run on it that waits for answers. */
class AskedRun {
  readonly repo: string;
  run = "";

  constructor(name: string) {
    this.repo = join(installation.home, name);
    mkdirSync(this.repo);
    this.git("init", "-q", "-b", "main");
    writeFileSync(join(this.repo, "notes.txt"), "base\n");
    this.git("add", "-A");
    this.git("commit", "-q", "-m", "base");
  }

  git(...args: string[]): string {
    const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
    const options = { cwd: this.repo, encoding: "utf8" } as const;
    return execFileSync("git", [...identity, ...args], options).trimEnd();
  }

  /** Two questions, one of which must be answered; a step for each operation. */
  async submit(operations: readonly Json[], more: Json = {}): Promise<void> {
    const steps = operations.map((one, index) => ({
      step_id: `step_0${index + 1}`,
      operations: [one],
    }));
    const questions = ["blocking", "non_blocking"].map((level, index) => ({
      question_id: `q_${index + 1}`,
      type: "blocker",
      blocking_level: level,
      question: "Which?",
      min_evidence: 1,
    }));
    const request = {
      exec_request_id: "exec_req_gates_001",
      schema_version: "0.11.1",
      created_at: "2026-01-26T19:30:00Z",
      question_pack: {
        question_pack_id: "qpack_gates",
        questions,
        policy_constraints: { execution_mode: "interactive", question_budget: 2 },
      },
      patch_plan: { steps },
      ...more,
    };
    const file = `${this.repo}.json`;
    writeFileSync(file, JSON.stringify(request));
    const args = ["exec", "run", "--policy", policy, "--request", file, "--repo", this.repo];
    const { code, documents } = await installation.json(args);
    expect(code).toBe(3);
    this.run = runEnded(documents).run;
  }

  /** @param references for each question; null leaves it unanswered */
  async answer(...references: (readonly string[] | null)[]): Promise<CliEnd> {
    const file = `${this.repo}.answers.json`;
    rmSync(file, { force: true });
    await installation.run(["answers", "create", this.run, "--out", file]);
    const pack = JSON.parse(readFileSync(file, "utf8")) as { answers: Json[] };
    pack.answers = pack.answers.flatMap((one, index) => {
      const refs = references[index] ?? null;
      return refs === null ? [] : { ...one, evidence_refs: refs };
    });
    writeFileSync(file, JSON.stringify(pack));
    return installation.run(["answers", "apply", this.run, file]);
  }

  /** Something in the way of the last document: the run stops there, and can go on later. */
  async stopBeforeItsEvidence(): Promise<void> {
    const killed = killBefore("audit/checksums.json");
    await endOf(installation.start(["exec", "resume", this.run], killed));
    expect(existsSync(this.path("audit/checksums.json"))).toBe(false);
  }

  async resume(): Promise<ReturnType<typeof runEnded>> {
    const { documents } = await installation.json(["exec", "resume", this.run]);
    return runEnded(documents);
  }

  path(name: string): string {
    return join(installation.home, "runs", this.run, name);
  }

  /** Judge the run with a document of it edited, and put it back. */
  async judgedWith(name: string, edit: (text: string) => string): Promise<Judged> {
    const path = this.path(name);
    const text = readFileSync(path, "utf8");
    const edited = edit(text);
    expect(edited).not.toBe(text);
    writeFileSync(path, edited);
    try {
      return await judge(this.run);
    } finally {
      writeFileSync(path, text);
    }
  }
}

interface Judged {
  readonly code: number | null;
  readonly verdicts: Readonly<Record<string, string>>;
  readonly messages: Readonly<Record<string, string>>;
}

async function judge(run: string): Promise<Judged> {
  const { code, documents } = await installation.json(["gates", "run", run]);
  const results = (documents[0]?.["results"] ?? []) as Record<string, string>[];
  const by = (field: string): Record<string, string> =>
    Object.fromEntries(results.map((one) => [one["gate"] ?? "", one[field] ?? ""]));
  return { code, verdicts: by("verdict"), messages: by("message") };
}

const failing = ({ verdicts }: Judged): string[] =>
  Object.keys(verdicts).filter((gate) => verdicts[gate] === "fail");

/** An edit of a JSON document, or of the lines of the tape. */
const json =
  (edit: (value: Json) => void) =>
  (text: string): string => {
    const value = JSON.parse(text) as Json;
    edit(value);
    return JSON.stringify(value);
  };
const tape =
  (edit: (lines: Json[]) => Json[]) =>
  (text: string): string => {
    const lines = text.split("\n").filter((line) => line !== "");
    const edited = edit(lines.map((line) => JSON.parse(line) as Json));
    return edited.map((line) => `${JSON.stringify(line)}\n`).join("");
  };

const TAPE = "audit/run_tape.jsonl";
const RESULT = "execution_result.json";
const PROOF = "03_executor/sandbox_proof.json";
const REQUEST = "02_dryrun/exec_request.json";

// The first run of an installation makes its keys: this one's need the reviewer's.
describe("an execution that waits for its review", () => {
  let asked: AskedRun;
  beforeAll(async () => {
    asked = new AskedRun("reviewed");
    await asked.submit(STEPS, { requires_review: true });
    expect(await asked.answer(["notes.txt"], ["notes.txt"])).toMatchObject({ code: 0 });
    expect(await asked.resume()).toMatchObject({ status: "pending" });
  });

  it("A1 fails when its answers are taken away after it ran", async () => {
    const path = asked.path("01_intent/answer_pack.json");
    const answers = readFileSync(path);
    rmSync(path);
    expect(await asked.resume()).toMatchObject({ code: "ERR_REQUEST_BLOCKED" });
    const judged = await judge(asked.run);
    expect(judged.code).toBe(4);
    expect(failing(judged)).toEqual(["A1"]);
    writeFileSync(path, answers);
  });

  describe("and got it", () => {
    beforeAll(async () => {
      const approved = await installation.run(["run", "approve", asked.run, "--as", "reviewer"]);
      expect(approved).toMatchObject({ code: 0, err: "" });
      expect(await asked.resume()).toMatchObject({ status: "completed", verdict: "VALID" });
    });

    it("EX-G passes when it came back with its approval", async () => {
      const judged = await judge(asked.run);
      expect(judged).toMatchObject({ code: 0, verdicts: { "EX-G": "pass", A1: "not_applicable" } });
    });

    it("EX-F fails when the user writes into a file while the rollback restores it", async () => {
      let end = await rollBackWhileWriting(asked);
      for (let again = 1; again <= 3 && end.status === "completed"; again++) {
        // The writer came too late to be in the proof: another run, another chance.
        asked = new AskedRun(`again-${again}`);
        await asked.submit(STEPS);
        expect(await asked.answer(["notes.txt"], ["notes.txt"])).toMatchObject({ code: 0 });
        expect(await asked.resume()).toMatchObject({ status: "completed" });
        end = await rollBackWhileWriting(asked);
      }
      expect(end).toMatchObject({ status: "failed", code: "ERR_BRING_BACK_MISMATCH" });
      expect(end.verdict).toBe("VALID");
      const judged = await judge(end.run);
      expect(judged).toMatchObject({ code: 4, verdicts: { "EX-F": "fail" } });
      expect(readFileSync(join(asked.repo, "notes.txt"), "utf8")).toBe("base\nmine\n");
    });
  });
});

describe("an execution that came back, and stopped before its evidence was recorded", () => {
  let asked: AskedRun;
  let open: Judged;
  let refused: readonly CliEnd[];
  let stopped: Judged;
  beforeAll(async () => {
    asked = new AskedRun("stopped");
    await asked.submit(STEPS);
    open = await judge(asked.run);
    refused = [await asked.answer(["notes.txt"], []), await asked.answer(["notes.txt"], null)];
    expect(await asked.answer(["notes.txt"], ["other"])).toMatchObject({ code: 0 });
    const answers = asked.path("01_intent/answer_pack.json");
    writeFileSync(answers, readFileSync(answers, "utf8").replace('["other"]', "[]"));
    await asked.stopBeforeItsEvidence();
    stopped = await judge(asked.run);
  });

  it("A1 passes when questions are open", () => {
    expect(open).toMatchObject({ code: 0, verdicts: { A1: "pass" } });
  });

  it("R3 and EX-H fail when its checksums could not be written", () => {
    const { code, verdicts, messages } = stopped;
    expect(code).toBe(4);
    expect(verdicts).toMatchObject({
      R3: "fail",
      "EX-H": "fail",
      A1: "not_applicable",
      R4: "pass",
    });
    expect(messages["R3"]).toContain("there are no checksums");
  });

  it("A3 fails when an answer rests on less than its question wants", () => {
    const { verdicts, messages } = stopped;
    expect(verdicts).toMatchObject({ A2: "pass", A3: "fail" });
    expect(messages["A3"]).toBe("q_2 has 0 of 1 references");
    // Nobody gets there but by editing: such answers are not taken.
    expect(refused.map(({ code }) => code)).toEqual([2, 2]);
    expect(refused[0]?.err).toContain("q_2 has 0 of 1 references");
    expect(refused[1]?.err).toContain("q_2 is not answered");
  });

  it.each<[string, string, string, (text: string) => string]>([
    [
      "EX-A",
      "the tape tells of an operation that nobody authorised",
      TAPE,
      tape((lines) =>
        lines.map((line) => {
          const details = line["details"] as Json;
          return details["op_id"] === "list"
            ? { ...line, details: { ...details, op_id: "other" } }
            : line;
        }),
      ),
    ],
    [
      "EX-C",
      "the proof says that the work was not done in a work tree",
      PROOF,
      json((proof) => {
        proof["is_worktree"] = false;
      }),
    ],
    [
      "EX-D",
      "the proof leaves a commit out",
      PROOF,
      json((proof) => {
        (proof["commits_brought_back"] as string[]).pop();
      }),
    ],
    [
      "EX-E",
      "a step on the tape has no end",
      TAPE,
      tape((lines) => lines.filter((line) => line["event"] !== "step_end")),
    ],
    [
      "EX-G",
      "the request demands a review that there was none of",
      REQUEST,
      json((request) => {
        request["requires_review"] = true;
      }),
    ],
    [
      "R2",
      "the proof begins elsewhere than the run",
      PROOF,
      json((proof) => {
        proof["base_commit"] = "0".repeat(40);
      }),
    ],
    [
      "R4",
      "the result names another tree than the one that was authorised",
      RESULT,
      json((result) => {
        const [step] = result["steps"] as Json[];
        if (step !== undefined) step["tree"] = "0".repeat(40);
      }),
    ],
    [
      "P0-N2",
      "the result names a request that the commits do not",
      RESULT,
      json((result) => {
        result["exec_request_id"] = "exec_req_other_001";
      }),
    ],
  ])("%s fails when %s", async (gate, _, name, edit) => {
    expect(failing(stopped)).not.toContain(gate);
    const judged = await asked.judgedWith(name, edit);
    expect(judged.code).toBe(4);
    expect(failing(judged)).toContain(gate);
  });

  describe("and was resumed, after the user had committed and edited", () => {
    let end: ReturnType<typeof runEnded>;
    beforeAll(async () => {
      writeFileSync(join(asked.repo, "own.txt"), "own\n");
      asked.git("add", "own.txt");
      asked.git("commit", "-q", "-m", "own");
      appendFileSync(join(asked.repo, "notes.txt"), "mine\n");
      end = await asked.resume();
    });

    it("EX-C and P-G fail when the user commits and edits before it is resumed", async () => {
      expect(end).toMatchObject({ status: "completed", verdict: "VALID" });
      const judged = await judge(asked.run);
      expect(judged.code).toBe(4);
      expect(failing(judged).toSorted()).toEqual(["A3", "EX-C", "P-G"]);
      const evidence = ["--bundle", end.bundle, "--trust", end.trust_root];
      const verified = await installation.run(["verify", ...evidence, "--repo", asked.repo]);
      expect(verified).toMatchObject({ code: 0 });
      expect(verified.out).toContain("3 fail");
    });

    it("is not judged once a document of it was edited", async () => {
      const path = asked.path(PROOF);
      writeFileSync(path, readFileSync(path, "utf8").replace("true", "false"));
      const { code, err } = await installation.run(["gates", "run", asked.run]);
      expect(code).toBe(4);
      expect(err).toContain("ERR_ARTIFACT_CHANGED");
    });
  });
});

describe("an execution that was denied, and stopped before its evidence was recorded", () => {
  let asked: AskedRun;
  beforeAll(async () => {
    asked = new AskedRun("denied");
    await asked.submit([{ op_id: "launch", action: "launch_rocket", params: {} }]);
    expect(await asked.answer(["notes.txt"], ["notes.txt"])).toMatchObject({ code: 0 });
    await asked.stopBeforeItsEvidence();
  });

  it("R1 fails when the denial is not on the tape", async () => {
    expect((await judge(asked.run)).verdicts).toMatchObject({ R1: "pass" });
    const without = tape((lines) => lines.filter((one) => one["event"] !== "operation_refused"));
    const judged = await asked.judgedWith(TAPE, without);
    expect(judged).toMatchObject({ code: 4, verdicts: { R1: "fail" } });
  });

  it("P0-N1 fails when the tape tells of an unknown action that the ledger does not", async () => {
    expect((await judge(asked.run)).verdicts).toMatchObject({ "P0-N1": "pass" });
    const other = tape((lines) =>
      lines.flatMap((one) => {
        if (one["event"] !== "operation_start") return [one];
        return [one, { ...one, details: { ...(one["details"] as Json), op_id: "other" } }];
      }),
    );
    const judged = await asked.judgedWith(TAPE, other);
    expect(judged).toMatchObject({ code: 4, verdicts: { "P0-N1": "fail" } });
    expect(judged.messages["P0-N1"]).toBe("step_01.other was never refused");
  });

  it("A2 fails when nothing of it ran after its answers", async () => {
    const end = await asked.resume();
    expect(end).toMatchObject({ status: "failed", code: "ERR_ACTION_UNKNOWN", verdict: "VALID" });
    const judged = await judge(asked.run);
    expect(judged).toMatchObject({ code: 4, verdicts: { A2: "fail", A3: "pass", R1: "pass" } });
    expect(failing(judged)).toEqual(["A2"]);
  });
});

async function rollBackWhileWriting(asked: AskedRun): Promise<ReturnType<typeof runEnded>> {
  const writer = spawn(process.execPath, ["-e", WRITES_AT_ONCE, join(asked.repo, "notes.txt")]);
  const written = endOf(writer);
  await new Promise((ready) => writer.stdout.once("data", ready));
  const { documents } = await installation.json(["exec", "rollback", asked.run]);
  writer.kill();
  await written;
  return runEnded(documents);
}

/** Waits until a file changes, and writes into it. */
const WRITES_AT_ONCE = `
  const { appendFileSync, readFileSync } = require("node:fs");
  const path = process.argv[1];
  const before = readFileSync(path, "utf8");
  const pause = new Int32Array(new SharedArrayBuffer(4));
  process.stdout.write("ready");
  while (readFileSync(path, "utf8") === before) Atomics.wait(pause, 0, 0, 1);
  appendFileSync(path, "mine\\n");
`;

describe("the gates", () => {
  it("each have a test that fails them by a real run", () => {
    const text = readFileSync(import.meta.filename, "utf8");
    const titles = [...text.matchAll(/^ +it\("(.*) fails? when /gm)].flatMap(([, gates = ""]) =>
      gates.split(" and "),
    );
    const rows = [...text.matchAll(/^ {6}"([A-Z0-9-]+)",$/gm)].map(([, gate = ""]) => gate);
    // EX-B judges our own sources, not a run: test/tidy/gates.test.ts.
    const failed = new Set([...titles, ...rows, "EX-B"]);
    // The gates of tools judge agents' runs: examples/agent/demo.ts has one that fails each.
    const own = GATES.map((one) => one.id).filter((id) => !id.startsWith("TL-"));
    expect(own.filter((id) => !failed.has(id))).toEqual([]);
  });
});
