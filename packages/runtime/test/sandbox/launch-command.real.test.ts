import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { firstChildOf, identify, isAlive, type ProcessIdentity } from "../../src/process/index.ts";
import { GUARD_FD, INFO_FD, launchCommand, USER_FD } from "../../src/sandbox/command-line.ts";

/** No process has it: the parent puts its own in its place. */
const PARENT = 4_194_999;

/** A shell that launches, as the engine does, and can be killed for it. */
function launcher(script: string): ChildProcess {
  const command = launchCommand(PARENT, script, []);
  return spawn("/bin/bash", ["-c", `setsid "\${@/${PARENT}/$$}" & wait`, "sh", ...command], {
    stdio: Array.from({ length: GUARD_FD + 1 }, () => "pipe" as const),
  });
}

function pipe(parent: ChildProcess, descriptor: number): Duplex {
  return (parent.stdio as unknown as Duplex[])[descriptor] as Duplex;
}

/** What of a launcher ends with it: itself, and its ends of the pipes. */
function die(parent: ChildProcess): void {
  parent.kill("SIGKILL");
  for (const one of parent.stdio) one?.destroy();
}

async function said(parent: ChildProcess, descriptor: number, text: RegExp): Promise<string> {
  let all = "";
  const chunks = pipe(parent, descriptor).iterator({ destroyOnReturn: false });
  for await (const chunk of chunks) {
    all += String(chunk);
    const found = text.exec(all)?.[1];
    if (found !== undefined) return found;
  }
  throw new Error(`expected ${String(text)}, found: ${all}`);
}

function identityOf(pid: string | number | null): ProcessIdentity {
  const found = identify(Number(pid));
  if (found === null) throw new Error(`expected a process, found ${pid}`);
  return found;
}

/** One that stays, and its guard, which is its only child. */
async function guarded(): Promise<
  { parent: ChildProcess } & Record<"launched" | "guard", ProcessIdentity>
> {
  const parent = launcher("echo $$ is it; exec sleep 60");
  const launched = identityOf(await said(parent, 1, /(\d+) is it/));
  return { parent, launched, guard: identityOf(firstChildOf(launched.pid)) };
}

describe("a launch", () => {
  it("runs its script where its parent is who launched it", () => {
    const [command = "", ...args] = launchCommand(process.pid, 'echo "$1"', ["word"]);
    const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
    expect([status, stdout]).toEqual([0, "word\n"]);
  });

  it("ends before its script where who launched it had died already", () => {
    // As it finds itself when it is somebody else's child by the time it can look.
    const [command = "", ...args] = launchCommand(process.ppid, "echo ran", []);
    const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
    expect([status, stdout]).toEqual([125, ""]);
  });

  it("dies with who launched it, its guard too", async () => {
    const { parent, launched, guard } = await guarded();
    expect([launched, guard].map(isAlive)).toEqual([true, true]);
    die(parent);
    while (isAlive(launched) || isAlive(guard)) await sleep(5);
  });

  it("leaves nothing that bubblewrap made and that waits for it", async () => {
    const parent = launcher(`exec bwrap --unshare-user --unshare-pid --die-with-parent \\
      --info-fd ${INFO_FD} --userns-block-fd ${USER_FD} --ro-bind / / sleep 60`);
    const inner = identityOf(await said(parent, INFO_FD, /"child-pid": (\d+)/));
    expect(isAlive(inner)).toBe(true);
    die(parent);
    while (isAlive(inner)) await sleep(5);
  });

  it("loses its guard, and nothing else, once it is told that all is ready", async () => {
    const { parent, launched, guard } = await guarded();
    pipe(parent, GUARD_FD).end("ready\n");
    while (isAlive(guard)) await sleep(5);
    expect(isAlive(launched)).toBe(true);
    die(parent);
    while (isAlive(launched)) await sleep(5);
  });
});
