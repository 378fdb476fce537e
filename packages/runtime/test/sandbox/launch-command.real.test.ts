import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { identify, isAlive } from "../../src/process/index.ts";
import { launchCommand } from "../../src/sandbox/command-line.ts";

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

  it("dies with who launched it, before any program of a sandbox runs", async () => {
    const unknown = 4_194_999;
    const command = launchCommand(unknown, "echo $$; exec sleep 60", []);
    const parent = spawn("/bin/bash", ["-c", `"\${@/${unknown}/$$}" & wait`, "sh", ...command]);
    const [said] = (await once(parent.stdout, "data")) as [Buffer];
    const launched = identify(Number(said.toString()));
    if (launched === null) throw new Error(`expected a process, found ${said.toString()}`);
    expect(isAlive(launched)).toBe(true);
    parent.kill("SIGKILL");
    while (isAlive(launched)) await sleep(5);
  });
});
