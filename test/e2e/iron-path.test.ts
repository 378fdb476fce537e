import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseBundle, verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endOf, Installation, runEnded } from "./cli.ts";
import { copyExample, shortPipeline } from "./short-pipeline.ts";

const PIPELINE = "examples/iron-path/pipeline.yaml";
const APPROVE = ["--approve", "release_manager", "--approve", "safety_officer"];

let installation: Installation;
let short: string;
beforeAll(() => {
  installation = new Installation({ processes: "one" });
  short = shortPipeline(join(installation.home, "short"));
});
afterAll(async () => {
  await installation.dispose();
});

const verdictOf = (ended: { bundle: string; trust_root: string }): string =>
  verifyBundle(readFileSync(ended.bundle), { trustRoot: readFileSync(ended.trust_root) }).verdict;

describe("the Iron Path", () => {
  it("runs to evidence that verifies offline, exported twice with equal bytes", async () => {
    const { code, documents } = await installation.json(["run", PIPELINE, ...APPROVE]);
    const ended = runEnded(documents);
    expect(ended).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(code).toBe(0);
    expect(documents.filter((one) => one["event"] === "stage.completed")).toHaveLength(8);
    const again = join(installation.home, "again.json");
    await installation.run(["bundle", "export", ended.run, "--out", again]);
    expect(readFileSync(again).equals(readFileSync(ended.bundle))).toBe(true);
    const zip = join(installation.home, "bundle.zip");
    await installation.run(["bundle", "export", ended.run, "--out", zip, "--with-artifacts"]);
    const verify = ["verify", "--bundle", zip, "--trust", ended.trust_root];
    expect(await installation.run(verify)).toMatchObject({ code: 0 });
    const untrusted = await installation.run(["verify", "--bundle", zip]);
    expect(untrusted).toMatchObject({ code: 4 });
    expect(untrusted.out).toContain("Verdict: UNTRUSTED_KEY");
    for (const name of ["audit_export/immutable_audit.jsonl", "model_training/model.json"]) {
      expect(existsSync(join(installation.home, "runs", ended.run, "artifacts", name))).toBe(true);
    }
  });

  it("is judged by no gate, and gets no verdict of theirs", async () => {
    const { documents } = await installation.json(["run", "list"]);
    const judged = await installation.run(["gates", "run", String(documents[0]?.["run"])]);
    expect(judged).toMatchObject({ code: 2, out: "" });
    expect(judged.err).toContain("expected an execution or a rollback");
  });

  it("exports a tenant's log that verifies line by line", async () => {
    const file = join(installation.home, "immutable_audit.jsonl");
    expect(await installation.run(["audit", "export", "--out", file])).toMatchObject({ code: 0 });
    const other = join(installation.home, "other.jsonl");
    const mistyped = ["audit", "export", "--log", "defualt", "--out", other];
    expect((await installation.run(mistyped)).err).toContain("ERR_LOG_EMPTY");
    expect([other, `${other}.checkpoint`].filter((one) => existsSync(one))).toEqual([]);
    const trust = join(installation.home, "trust.json");
    const exportTrust = ["keys", "export-trust", "--out", trust];
    expect((await installation.run(exportTrust)).code).toBe(0);
    for (const again of [["audit", "export", "--out", file], exportTrust]) {
      const refused = await installation.run(again);
      expect(refused).toMatchObject({ code: 2, out: "" });
      expect(refused.err).toContain("it is there already");
    }
    const checkpoint = `${file}.checkpoint`;
    const held = ["verify-audit", file, "--checkpoint", checkpoint, "--trust", trust];
    expect(await installation.run(held)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^VALID: /) as string,
    });
    const bare = ["audit", "export", "--no-checkpoint", "--out", other];
    expect((await installation.json(bare)).documents).toMatchObject([{ checkpoint: null }]);
    expect(existsSync(`${other}.checkpoint`)).toBe(false);
    // Nobody signed for the file itself: it is consistent, and no more.
    expect(await installation.run(["verify-audit", file])).toMatchObject({
      code: 4,
      out: expect.stringMatching(/^CONSISTENT: /) as string,
    });
    writeFileSync(file, readFileSync(file, "utf8").replace("run.admitted", "run.admittee"));
    const edited = await installation.run(["verify-audit", file]);
    expect(edited.code).toBe(4);
    expect(edited.out).toContain("line ");
  });

  it("finds and names the agent that lies, and still promotes what the others agree on", async () => {
    const args = ["run", PIPELINE, "--fault", "validator", ...APPROVE];
    const { code, documents } = await installation.json(args);
    expect(code).toBe(0);
    const faulty = documents.filter((one) => one["event"] === "agent.faulty");
    expect(faulty.map((one) => one["role"])).toEqual(["validator"]);
    expect(JSON.stringify(faulty)).toContain("evaluation.");
  });

  it.each([
    ["kills itself", "process.kill(process.pid, 'SIGKILL');"],
    ["floods its output", "for (;;) process.stdout.write('x'.repeat(65536));"],
  ])("goes on without the vote of an agent that %s", async (name, program) => {
    const pipeline = copyExample(join(installation.home, name.replaceAll(" ", "-")));
    writeFileSync(join(dirname(pipeline), "programs/agents/oversight.ts"), program);
    const { code, documents } = await installation.json(["run", pipeline, ...APPROVE]);
    const ended = runEnded(documents);
    expect(ended).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(code).toBe(0);
    const { entries } = parseBundle(readFileSync(ended.bundle));
    const abstained = entries.filter(({ entry }) => entry.event_type === "agent.abstained");
    expect(abstained.map(({ entry }) => entry.data["role"])).toEqual(["oversight"]);
  });

  it("fails without a quorum, and the failed run's evidence verifies as what it is", async () => {
    const faults = ["--fault", "validator", "--fault", "planner"];
    const { code, documents } = await installation.json(["run", PIPELINE, ...faults, ...APPROVE]);
    const ended = runEnded(documents);
    expect(ended).toMatchObject({ status: "failed", code: "ERR_CONSENSUS_FAILED" });
    expect(code).toBe(3);
    expect(verdictOf(ended)).toBe("VALID");
    expect(readFileSync(ended.bundle, "utf8")).toContain('"status":"failed"');
  });

  it("records a stage whose program fails", async () => {
    const args = ["run", "examples/iron-path/pipeline-failing-stage.yaml", ...APPROVE];
    const { documents } = await installation.json(args);
    const ended = runEnded(documents);
    expect(ended).toMatchObject({ status: "failed", code: "ERR_PROGRAM_FAILED" });
    expect(verdictOf(ended)).toBe("VALID");
  });

  it("waits for people, takes their approvals one by one, and goes on", async () => {
    const { code, documents } = await installation.json(["run", short]);
    const ended = runEnded(documents);
    expect(ended).toMatchObject({ status: "pending", code: "ERR_APPROVAL_REQUIRED" });
    expect(code).toBe(3);
    const approve = (role: string) => installation.run(["run", "approve", ended.run, "--as", role]);
    expect((await approve("auditor")).err).toContain("ERR_APPROVER_REFUSED");
    const first = await approve("data_steward");
    expect(first).toMatchObject({ code: 0 });
    expect(first.out).toMatch(/1 of 2 needed\. Next: sovereign run approve run_\S+ --approver /);
    const still = await installation.json(["run", "resume", ended.run]);
    expect(runEnded(still.documents)).toMatchObject({ status: "pending" });
    expect(JSON.stringify(still.documents)).toContain("; 1 recorded");
    expect((await approve("safety_officer")).out).toContain(
      "2 of 2 needed. Next: sovereign run resume",
    );
    const nobody = await installation.run(["run", "resume", ended.run, "--approver", "nobody"]);
    expect({ code: nobody.code, err: nobody.err.includes("ERR_APPROVER_REFUSED") }).toEqual({
      code: 3,
      err: true,
    });
    const next = await installation.json(["run", "resume", ended.run, ...APPROVE]);
    expect(runEnded(next.documents)).toMatchObject({ status: "completed", verdict: "VALID" });
    const again = await installation.run(["run", "resume", ended.run]);
    expect(again.code).toBe(2);
    expect(again.err).toContain("ERR_RUN_SEALED");
    expect((await approve("data_steward")).err).toContain("ERR_NOTHING_PENDING");
  });

  it("keeps the consent that came with the command, and was too little", async () => {
    const { documents } = await installation.json(["run", short, "--approver", "data_steward"]);
    const { run, status } = runEnded(documents);
    expect(status).toBe("pending");
    const second = await installation.run(["run", "approve", run, "--approver", "safety_officer"]);
    expect(second.out).toContain("2 of 2 needed. Next: sovereign run resume");
    const next = await installation.json(["run", "resume", run]);
    expect(runEnded(next.documents)).toMatchObject({ status: "completed", verdict: "VALID" });
  });

  it("does not go on with files that are not those of the plan", async () => {
    const { documents } = await installation.json(["run", short]);
    const { run } = runEnded(documents);
    const program = join(installation.home, "runs", run, "01_intent", "programs", "train.ts");
    writeFileSync(program, `${readFileSync(program, "utf8")}\n// changed\n`);
    const refused = await installation.run(["run", "resume", run, ...APPROVE]);
    expect(refused.code).toBe(4);
    expect(refused.err).toContain("ERR_RUN_DIVERGED");
  });

  it("survives the database being killed in the middle", async () => {
    const child = installation.start(["run", short, ...APPROVE, "--json"]);
    const ended = endOf(child);
    await new Promise<void>((next) => {
      child.stdout?.on("data", (chunk) => {
        if (String(chunk).includes('"stage":"baseline_training"')) next();
      });
    });
    const pidFile = join(installation.home, "postgres", "data", "postmaster.pid");
    process.kill(Number(readFileSync(pidFile, "utf8").split("\n")[0]), "SIGKILL");
    const { code, out } = await ended;
    const run = /run_[a-z2-7]{20}/.exec(out)?.[0] ?? "";
    expect(code).toBe(1);
    expect(out).toContain("ERR_STORE_UNAVAILABLE");
    const { documents } = await installation.json(["run", "resume", run, ...APPROVE]);
    expect(runEnded(documents)).toMatchObject({ status: "completed", verdict: "VALID" });
  });

  it.each(["SIGINT", "SIGKILL"] as const)("goes on after %s amid a step", async (signal) => {
    const child = installation.start(["run", short, ...APPROVE, "--json"]);
    const ended = endOf(child);
    let run = "";
    await new Promise<void>((next) => {
      child.stdout?.on("data", (chunk) => {
        run = /run_[a-z2-7]{20}/.exec(String(chunk))?.[0] ?? run;
        if (String(chunk).includes('"stage":"baseline_training"')) next();
      });
    });
    child.kill(signal);
    await ended;
    const { documents } = await installation.json(["run", "resume", run, ...APPROVE]);
    expect(runEnded(documents)).toMatchObject({ status: "completed", verdict: "VALID" });
  });

  it("verifies after a key was rotated and revoked, and refuses a run with a missing key", async () => {
    const keys = await installation.json(["keys", "list"]);
    const trainer = keys.documents.find((key) => key["role"] === "trainer");
    const id = String(trainer?.["key_id"]);
    expect(await installation.run(["keys", "rotate", id])).toMatchObject({ code: 0 });
    const { documents } = await installation.json(["run", short, ...APPROVE]);
    expect(runEnded(documents)).toMatchObject({ status: "completed", verdict: "VALID" });
    const rotated = await installation.json(["keys", "list"]);
    const fresh = rotated.documents.find(
      (key) => key["role"] === "trainer" && key["ended"] === null,
    );
    const revoke = ["keys", "revoke", String(fresh?.["key_id"]), "--reason", "test"];
    expect(await installation.run(revoke)).toMatchObject({ code: 0 });
    const refused = await installation.json(["run", short, ...APPROVE]);
    expect(runEnded(refused.documents)).toMatchObject({
      status: "failed",
      code: "ERR_KEY_NOT_FOUND",
    });
    expect(await installation.run(["keys", "add", "--role", "trainer"])).toMatchObject({ code: 0 });
  });

  it("is denied what its policy does not name; observes it instead; and learns the rule", async () => {
    const pipeline = copyExample(join(installation.home, "copy"));
    const policy = join(dirname(pipeline), "policy.yaml");
    const strict = readFileSync(policy, "utf8").replace("  - model.train\n", "");
    writeFileSync(policy, strict);
    const denied = await installation.json(["run", pipeline, ...APPROVE]);
    expect(runEnded(denied.documents)).toMatchObject({
      status: "failed",
      code: "ERR_POLICY_DENIED",
    });
    expect(denied.code).toBe(3);
    const { run } = runEnded(denied.documents);
    const fromDenial = await installation.json(["policy", "learn", run]);
    const operations = [{ type: "model.train", resources: ["baseline_training"] }];
    expect(fromDenial.documents[0]).toMatchObject({ operations });
    writeFileSync(policy, strict.replace("schema_version", "mode: observe\nschema_version"));
    const observed = await installation.json(["run", pipeline, ...APPROVE]);
    const completed = { status: "completed", code: null, verdict: "VALID" };
    expect(runEnded(observed.documents)).toMatchObject(completed);
    const learned = await installation.json(["policy", "learn", runEnded(observed.documents).run]);
    const both = ["baseline_training", "model_training"];
    expect(learned.documents[0]).toMatchObject({
      operations: [{ type: "model.train", resources: both }],
    });
  });

  it("does nothing between a stop by two keys and a reset by two keys", async () => {
    expect(await installation.run(["scram", "status"])).toMatchObject({ code: 0 });
    await installation.run(["keys", "add", "--operator", "alice", "--architect", "bob"]);
    const keys = ["--operator-key", "alice", "--architect-key", "bob"];
    const stopped = await installation.json(["scram", "activate", ...keys]);
    expect(stopped).toMatchObject({ code: 0, documents: [{ event: { scram_state: "COMPLETE" } }] });
    expect(await installation.json(["scram", "status"])).toMatchObject({
      code: 5,
      documents: [{ state: "COMPLETE", readable: true }],
    });
    const { code, documents } = await installation.json(["run", short, ...APPROVE]);
    expect(code).toBe(5);
    expect(documents).toMatchObject([{ error: { code: "ERR_SCRAM_TRIPPED", exit: 5 } }]);
    const reset = await installation.json(["scram", "reset", ...keys, "--reason", "all clear"]);
    expect(reset).toMatchObject({ code: 0, documents: [{ state: "ARMED" }] });
    const again = await installation.json(["run", short, ...APPROVE]);
    expect(runEnded(again.documents)).toMatchObject({ status: "completed" });
  });
});
