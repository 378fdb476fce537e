import { type ChildProcess, spawn } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { identify } from "../../src/process/index.ts";
import { Silence } from "../../src/scram/index.ts";
import { DEAD_MAN_SCRIPT } from "../../src/sentinel/dead-man-script.ts";

const HANG_MS = 20_000;
/** Stays in the kernel's uninterruptible sleep until its child, which shares its memory, ends. */
const CLONE = process.arch === "arm64" ? 220 : 56;
const UNINTERRUPTIBLE = `if (syscall(${CLONE}, 0x4111, 0, 0, 0, 0) == 0) { sleep 60 } sleep 60`;

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
    /** One whose paths ran for so many processors' time. */
    const under = async (
      name: string,
      processors: number,
    ): Promise<[ChildProcess, NodeJS.Timeout, () => void]> => {
      const group = join(folder, name);
      mkdirSync(group);
      const stat = join(group, "cpu.stat");
      const tell = (): void => {
        const used = Math.round(performance.now() * 1000 * processors);
        writeFileSync(`${stat}.new`, `usage_usec ${used}\nuser_usec ${used}\n`);
        renameSync(`${stat}.new`, stat);
      };
      tell();
      const sentinel = begin("perl", "-e", UNINTERRUPTIBLE);
      await expect.poll(() => stateOf(sentinel.pid), { timeout: HANG_MS }).toBe("D");
      const script = ["--norc", "--noprofile", "-c", DEAD_MAN_SCRIPT, "dead-man"];
      const parts = [join(group, "cgroup.kill"), ...words(sentinel.pid), folder, "4"];
      const guard = (): void => {
        begin("/bin/bash", ...script, ...parts);
      };
      return [sentinel, setInterval(tell, 20), guard];
    };
    const [idle, one, guardIdle] = await under("idle", 0);
    const [busy, other, guardBusy] = await under("busy", 2);
    guardBusy();
    guardIdle();
    try {
      expect(await ends(busy)).toBe("SIGKILL");
      expect(idle.signalCode).toBe(null);
      expect(await ends(idle)).toBe("SIGKILL");
    } finally {
      clearInterval(one);
      clearInterval(other);
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
  it("counts as a wait for a processor where more want one than there are", async () => {
    const silent = begin("perl", "-e", UNINTERRUPTIBLE);
    await expect.poll(() => stateOf(silent.pid), { timeout: HANG_MS }).toBe("D");
    const silence = new Silence(silent.pid);
    const crowd = Array.from({ length: 64 }, () => begin("sh", "-c", "while :; do :; done"));
    await sleep(300);
    const missed = Array.from({ length: 11 }, () => silence.missed());
    for (const { pid } of crowd) endGroup(pid);
    // Of a disk that is slow ten are enough.
    expect(missed).toEqual(Array(11).fill(false));
    let more = 11;
    while (!silence.missed()) more += 1;
    expect(more).toBeLessThanOrEqual(40);
  });
});
