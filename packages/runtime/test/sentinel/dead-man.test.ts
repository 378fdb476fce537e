import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Crowd, identify } from "../../src/process/index.ts";
import { Silence } from "../../src/scram/index.ts";
import { DEAD_MAN_SCRIPT } from "../../src/sentinel/dead-man-script.ts";

const HANG_MS = 20_000;
/** Stays in the kernel's uninterruptible sleep until its child, which shares its memory, ends. */
const CLONE = process.arch === "arm64" ? 220 : 56;
const UNINTERRUPTIBLE = `if (syscall(${CLONE}, 0x4111, 0, 0, 0, 0) == 0) { sleep 60 } sleep 60`;
/**
 * `PIPE LOOKS PROCESSORS`: answers each look at a group's times as of then, and writes one byte a look.
 * So the answer is right however little time this process itself gets.
 */
const TELL_TIME = `use Time::HiRes qw(time sleep); $SIG{PIPE} = 'IGNORE'; my ($pipe, $looks, $n) = @ARGV;
while (1) {
  open(my $to, '>', $pipe) or die; syswrite($to, sprintf("usage_usec %d\n", time * 1e6 * $n)); close $to;
  open(my $log, '>>', $looks) or die; syswrite($log, '.'); close $log; sleep 0.02;
}`;

let folder: string;
const started: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sovereign-dead-man-"));
});
afterEach(() => {
  for (const { pid } of started.splice(0)) if (pid !== undefined) endGroup(pid);
  rmSync(folder, { recursive: true, force: true });
});

function endGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Gone already.
  }
}

function begin(command: string, ...args: string[]): ChildProcess & { pid: number } {
  const child = spawn(command, args, { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  started.push(child);
  child.stdin.on("error", () => undefined);
  return child as ChildProcess & { pid: number };
}

function words(pid: number): [string, string] {
  const { started: born } = identify(pid) ?? { started: "" };
  return [String(pid), born];
}

const stateOf = (pid: number): string =>
  /\) (.)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1] ?? "";

async function ends(child: ChildProcess | undefined): Promise<string | null> {
  if (child === undefined) return null;
  for (let waited = 0; waited < HANG_MS && child.signalCode === null; waited += 10) await sleep(10);
  return child.signalCode;
}

describe("the dead-man", () => {
  /** As the sentinel starts it, with one engine and one path. */
  function watch(sentinel: number, weights: readonly string[]): ChildProcess[] {
    const engine = begin("sleep", "60");
    const path = begin("sleep", "60");
    const script = ["--norc", "--noprofile", "-c", DEAD_MAN_SCRIPT, "dead-man", ""];
    const deadMan = begin("/bin/bash", ...script, ...words(sentinel), folder, "4", ...weights);
    deadMan.stdin?.write(`e ${words(engine.pid).join(" ")}\np one ${words(path.pid).join(" ")}\n`);
    return [engine, path, deadMan];
  }

  it("gives those that it kills the processor's time that it takes to die", async () => {
    const files = ["cpu.weight", "cpu.shares"].map((name) => join(folder, name));
    for (const file of files) writeFileSync(file, "25");
    const sentinel = begin("sleep", "60");
    const weights = files.flatMap((file) => [file, "6400"]);
    const missing = join(folder, "none");
    const [engine, path, deadMan] = watch(sentinel.pid, [...weights, missing, "1"]);
    await sleep(100);
    deadMan?.stdin?.end();
    expect(await Promise.all([engine, path].map((one) => ends(one)))).toEqual(
      Array(2).fill("SIGKILL"),
    );
    await expect
      .poll(() => readFileSync(files[1] ?? "", "utf8"), { timeout: HANG_MS })
      .toBe("6400\n");
    expect(readFileSync(files[0] ?? "", "utf8")).toBe("6400\n");
    expect(readdirSync(folder)).not.toContain("none");
  });

  it("gives a sentinel no longer in a crowd that its own paths make", async () => {
    const crowd = Array.from({ length: 32 }, () => begin("sh", "-c", "while :; do :; done"));
    /** After how many wake-ups it is killed whose paths run on so many processors. */
    const wakeUps = async (name: string, processors: number): Promise<number> => {
      const group = join(folder, name);
      mkdirSync(group);
      const stat = join(group, "cpu.stat");
      const looks = join(group, "looks");
      execFileSync("mkfifo", [stat]);
      writeFileSync(looks, "");
      begin("perl", "-e", TELL_TIME, stat, looks, String(processors));
      const sentinel = begin("perl", "-e", UNINTERRUPTIBLE);
      await expect.poll(() => stateOf(sentinel.pid), { timeout: HANG_MS }).toBe("D");
      const script = ["--norc", "--noprofile", "-c", DEAD_MAN_SCRIPT, "dead-man"];
      const parts = [join(group, "cgroup.kill"), ...words(sentinel.pid), folder, "4"];
      begin("/bin/bash", ...script, ...parts);
      expect(await ends(sentinel)).toBe("SIGKILL");
      return statSync(looks).size;
    };
    try {
      expect(await wakeUps("busy", 1000)).toBeLessThan((await wakeUps("idle", 0)) / 2);
    } finally {
      for (const { pid } of crowd) endGroup(pid);
    }
  });

  it("kills all under a sentinel that is stopped, and leaves a call before", async () => {
    const sentinel = begin("sleep", "60");
    const [engine, path] = watch(sentinel.pid, []);
    process.kill(sentinel.pid, "SIGSTOP");
    const all = [engine, path, sentinel].map((one) => ends(one));
    expect(await Promise.all(all)).toEqual(Array(3).fill("SIGKILL"));
    expect(readdirSync(folder).filter((name) => name.endsWith(".ready"))).toHaveLength(1);
  });
});

describe("uninterruptible sleep", () => {
  /** How many wake-ups of ten count as a wait for a processor, where the paths ran for so much. */
  async function waitsOfTen(processors: number | null): Promise<number> {
    const silent = begin("perl", "-e", UNINTERRUPTIBLE);
    await expect.poll(() => stateOf(silent.pid), { timeout: HANG_MS }).toBe("D");
    const file = processors === null ? null : join(folder, "cpu.stat");
    const silence = new Silence(silent.pid, new Crowd(file));
    const length = 3 * availableParallelism() + 2;
    const crowd = Array.from({ length }, () => begin("sh", "-c", "while :; do :; done"));
    await sleep(300);
    const once = async (): Promise<boolean> => {
      const used = Math.round(performance.now() * 1000 * (processors ?? 0));
      if (file !== null) writeFileSync(file, `usage_usec ${used}\nuser_usec ${used}\n`);
      await sleep(5);
      return silence.missed();
    };
    for (let count = 0; count < 10; count += 1) {
      if (!(await once())) continue;
      for (const { pid } of crowd) endGroup(pid);
      return count + 1 - 10;
    }
    for (const { pid } of crowd) endGroup(pid);
    let more = 0;
    while (!silence.missed()) more += 1;
    return more + 1;
  }

  it("counts as a wait for a processor where more want one than there are", async () => {
    // Of a disk that is slow ten wake-ups are enough.
    const more = await waitsOfTen(null);
    expect(more).toBeGreaterThan(0);
    expect(more).toBeLessThanOrEqual(30);
  });

  it("counts so where other work makes the crowd, and the paths had little time", async () => {
    expect(await waitsOfTen(0)).toBeGreaterThan(0);
  });

  it("is no wait for a processor in a crowd that the paths make themselves", async () => {
    expect(await waitsOfTen(1000)).toBe(0);
  });
});
