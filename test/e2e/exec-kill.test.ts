import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { difference, endOf, KillRig, lookAt } from "../../bench/exec-kill-rig.ts";

// The instants are held, not met: git waits for the branch's lock, and so does what called it. More
// of them, at random: EXEC_KILL_TRIALS=100 npm run bench -- exec-kill

let rig: KillRig;
let root: string;
let base: string[];
let baseHead: string;
let result: string[];
let run: string;
beforeAll(async () => {
  rig = new KillRig();
  root = rig.repository();
  base = lookAt(root);
  baseHead = headOf(root);
  await rig.cli("keys", "init", "--role", "executor", "--operator", "alice", "--architect", "bob");
  run = await execute();
  result = lookAt(root);
});
afterAll(async () => {
  expect(await rig.survivors(20_000)).toEqual([]);
  rig.dispose();
});

type Document = Record<string, unknown>;

async function execute(): Promise<string> {
  const { documents } = await endOf(rig.start(rig.runArguments(root)));
  expect(documents.at(-1)).toMatchObject({ status: "completed", verdict: "VALID" });
  return String(documents.at(-1)?.["run"]);
}

async function last(...words: string[]): Promise<Document> {
  return (await rig.cli(...words)).documents.at(-1) ?? {};
}

function headOf(repository: string): string {
  return execFileSync("git", ["rev-parse", "HEAD"], { cwd: repository, encoding: "utf8" }).trim();
}

async function until(there: () => boolean): Promise<void> {
  for (let waited = 0; !there(); waited += 10) {
    if (waited > 60_000) throw new Error("it did not come");
    await sleep(10);
  }
}

/** The git that waits for the lock ends after who called it, and must not get the lock meanwhile. */
function gitEnded(): Promise<void> {
  return until(() => !rig.living().some((line) => /^\d+ (?:\S*\/)?git /.test(line)));
}

/** Starts a rollback that has replaced files and index, and waits for the branch. */
async function holdRollback(): Promise<{
  control: ReturnType<KillRig["start"]>;
  ended: ReturnType<typeof endOf>;
  release: () => void;
}> {
  const lock = join(root, ".git/refs/heads/main.lock");
  writeFileSync(lock, "");
  const control = rig.start(["exec", "rollback", run, "--json"]);
  const ended = endOf(control);
  const next = join(rig.home, "runs", run, "rollback/switch/index.next");
  const index = join(root, ".git/index");
  await until(() => existsSync(next) && readFileSync(next).equals(readFileSync(index)));
  const release = (): void => {
    rmSync(lock);
  };
  return { control, ended, release };
}

/** Every run's end is in the ledger, and its bundle can be had with what it names. */
async function everyRunEnded(): Promise<Document[]> {
  const { documents } = await rig.cli("run", "list");
  for (const one of documents) {
    expect(["completed", "failed"]).toContain(one["status"]);
    const out = join(rig.folder, "bundle.json");
    const words = ["bundle", "export", String(one["run"]), "--out", out, "--with-artifacts"];
    expect(await rig.cli(...words)).toMatchObject({ code: 0 });
  }
  return documents.filter((one) => one["name"] === "rollback");
}

const rollbackFolder = (): string => join(rig.home, "runs", run, "rollback");

describe("a rollback that is killed", () => {
  it("before the branch moved is ended by status, and gone on with by rollback", async () => {
    const first = await holdRollback();
    first.control.kill("SIGKILL");
    await first.ended;
    await gitEnded();
    expect(difference(lookAt(root), result)).not.toEqual([]);
    first.release();
    const status = await last("exec", "status", run);
    expect(status).toMatchObject({ place: "at result", recovery: "undone" });
    expect(status).toMatchObject({ rollback: { status: "failed" } });
    expect(difference(lookAt(root), result)).toEqual([]);
    expect(existsSync(rollbackFolder())).toBe(false);

    const second = await holdRollback();
    second.control.kill("SIGKILL");
    await second.ended;
    await gitEnded();
    second.release();
    const back = await last("exec", "rollback", run);
    expect(back).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(difference(lookAt(root), base)).toEqual([]);
    // Two rollbacks, one for each that was asked for: the second went on in the same run.
    expect(await everyRunEnded()).toMatchObject([
      { run: back["run"], status: "completed" },
      { run: (status["rollback"] as Document)["run"], status: "failed" },
    ]);
  });

  it("when the branch had moved is proved by whoever comes next", async () => {
    run = await execute();
    const held = await holdRollback();
    // While the database stands still, the move can be made and not be recorded.
    const server = rig.server();
    for (const pid of server) process.kill(pid, "SIGSTOP");
    try {
      held.release();
      // Asked of git alone: to look at all files would meet them in the middle of the move.
      await until(() => headOf(root) === baseHead);
      held.control.kill("SIGKILL");
      await held.ended;
    } finally {
      for (const pid of server) process.kill(pid, "SIGCONT");
    }
    const resumed = await last("exec", "resume", run);
    expect(resumed).toMatchObject({ status: "completed", verdict: "VALID" });
    const proof = rig.runFile(String(resumed["run"]), "03_executor/rollback_proof.json");
    expect(JSON.parse(proof ?? "")).toMatchObject({ success: true, checksums_match: true });
    expect(existsSync(rollbackFolder())).toBe(false);
    const again = await rig.cli("exec", "resume", String(resumed["run"]));
    expect(again.documents.at(-1)).toMatchObject({ error: { code: "ERR_RUN_SEALED" } });
    const none = await rig.cli("exec", "rollback", run);
    expect(none.documents.at(-1)).toMatchObject({ error: { code: "ERR_ROLLBACK_NOTHING" } });
    expect(difference(lookAt(root), base)).toEqual([]);
  });
});

describe("what a kill left halfway", () => {
  it("is ended by whoever works in the repository next", async () => {
    run = await execute();
    result = lookAt(root);
    const held = await holdRollback();
    held.control.kill("SIGKILL");
    await held.ended;
    await gitEnded();
    held.release();
    expect(difference(lookAt(root), result)).not.toEqual([]);
    const files = rig.runArguments(root).slice(2);
    await rig.cli("exec", "plan", ...files);
    expect(difference(lookAt(root), result)).toEqual([]);
    expect(await last("exec", "rollback", run)).toMatchObject({ status: "completed" });
    expect(difference(lookAt(root), base)).toEqual([]);
  });
});

describe("an execution that ends between its seal and its bundle", () => {
  it("is finished by the next status", async () => {
    const known = rig.runs();
    const control = rig.start(rig.runArguments(root));
    const ended = endOf(control);
    const mine = (): string | undefined => rig.runs().find((one) => !known.includes(one));
    await until(() => mine() !== undefined);
    run = mine() ?? "";
    // A folder in its place is put aside, but not beside a thousand that were.
    const place = join(rig.home, "runs", run, "trust-root.json");
    const inTheWay = [place];
    for (let at = 1; at <= 1000; at++) inTheWay.push(`${place}.aside-${at}`);
    for (const one of inTheWay) mkdirSync(one);
    expect(await ended).not.toMatchObject({ code: 0 });
    for (const one of inTheWay) rmdirSync(one);
    expect(rig.runFile(run, "compliance_bundle.json")).toBeNull();
    expect(existsSync(join(rig.home, "runs", run, "work"))).toBe(true);
    const status = await last("exec", "status", run);
    expect(status).toMatchObject({ place: "at result", status: "completed", rollback: null });
    expect(existsSync(join(rig.home, "runs", run, "work"))).toBe(false);
    const trust = join(rig.home, "runs", run, "trust-root.json");
    const bundle = join(rig.home, "runs", run, "compliance_bundle.json");
    expect(await last("verify", "--bundle", bundle, "--trust", trust)).toMatchObject({
      verdict: "VALID",
    });
    expect(difference(lookAt(root), result)).toEqual([]);
    expect(await last("exec", "rollback", run)).toMatchObject({ verdict: "VALID" });
  });
});
