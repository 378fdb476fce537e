import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HOLDINGS } from "../../src/sandbox/holdings.ts";
import { createSandbox, probeSandbox, type SandboxRequest } from "../../src/sandbox/index.ts";
import { BACK_ENDS, type BackEnd, requireInstalled } from "../support/back-ends.ts";
import { canFreeze, Freezer } from "../support/freezer.ts";
import { survivors } from "../support/survivors.ts";

const LIMITS: SandboxRequest["limits"] = {
  wallMs: 20_000,
  cpuSeconds: 10,
  memoryBytes: 512 * 1024 * 1024,
  processes: 32,
  outputBytes: 100_000,
  fileBytes: 1_000_000,
};

let backend: BackEnd["backend"] = "bubblewrap";
const quiet = new AbortController().signal;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-sandbox-"));
  mkdirSync(join(folder, "out"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function shell(script: string, more: Partial<SandboxRequest> = {}): SandboxRequest {
  return {
    argv: ["/bin/sh", "-c", script],
    cwd: "/tmp",
    readOnly: [],
    writable: [{ source: join(folder, "out"), target: "/out" }],
    env: {},
    limits: LIMITS,
    ...more,
  };
}

async function run(
  script: string,
  more: Partial<SandboxRequest> = {},
  signal = new AbortController().signal,
): Promise<{ ended: string; exitCode: number | null; out: string; err: string; wallMs: number }> {
  const { ended, exitCode, stdout, stderr, wallMs } = await createSandbox({ backend }).run(
    shell(script, more),
    signal,
  );
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8").trim();
  return { ended, exitCode, out: text(stdout), err: text(stderr), wallMs };
}

const OPTIONAL = ["control group kill", "memory of a path together", "hardware watchdog"];

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

describe.each(BACK_ENDS)("the sandbox of $title", (one) => {
  beforeEach(() => {
    requireInstalled(one.absent);
    backend = one.backend;
  });

  it("gives standard input, the exit code and only what is mounted", async () => {
    writeFileSync(join(folder, "given"), "hello");
    const result = await run("cat; cat /given; echo x > /out/made; ls /root; exit 7", {
      readOnly: [{ source: join(folder, "given"), target: "/given" }],
      stdin: new TextEncoder().encode("asked "),
    });
    expect(result).toMatchObject({ ended: "exited", exitCode: 7, out: "asked hello" });
    expect(result.err).toContain("/root");
    expect(readFileSync(join(folder, "out", "made"), "utf8")).toBe("x\n");
  });

  it.runIf(process.getuid?.() === 0)("is had by a user of whom the system knows nothing", () => {
    const program = join(import.meta.dirname, "../support/sandbox-program.ts");
    const made =
      "perl -e 'my $i = 0; $i++ while $i < 99999 && open(my $f, q(>), qq(/tmp/f$i)); print $i'";
    const { stdout } = spawnSync(process.execPath, [program, backend, `id -u; ${made}`], {
      uid: 54_321,
      gid: 54_321,
      cwd: "/",
      env: { PATH: "/usr/bin:/bin" },
    });
    expect(stdout.toString()).toBe(`exited 1000\n${HOLDINGS.temporaryFiles.usual}`);
  });

  it.runIf(process.getuid?.() === 0)("is refused where nobody counts, if that is asked for", () => {
    const program = join(import.meta.dirname, "../support/sandbox-program.ts");
    const hidden = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"';
    const uncounted = (...more: string[]): string => {
      const words = [process.execPath, program, backend, "echo ran", ...more];
      const { stdout, stderr } = spawnSync("unshare", ["-m", "sh", "-c", hidden, "sh", ...words]);
      return `${stdout.toString()}${stderr.toString()}`;
    };
    expect(uncounted()).toBe("exited ran\n");
    expect(uncounted("counted")).toMatch(
      /Expected a memory controller that we may write, because scram.require_memory_controller/,
    );
  });

  it("is nobody outside where we are root, and not the same nobody for another run", async () => {
    const users: number[] = [];
    for (const run of ["a", "b"]) {
      const out = join(folder, run);
      mkdirSync(out, { mode: 0o700 });
      writeFileSync(join(out, "ours"), "before\n", { mode: 0o600 });
      const owner = { tenant_id: "t", run_id: `run_${run.repeat(20)}` };
      const script = "echo after >> /out/ours; touch /out/x /tmp/x /dev/shm/x ~/x; id -u; id -G";
      const writable = [{ source: out, target: "/out" }];
      const result = await createSandbox({ owner }).run(shell(script, { writable }), quiet);
      expect(Buffer.from(result.stdout).toString()).toBe("1000\n1000\n");
      expect(Buffer.from(result.stderr).toString()).toBe("");
      expect(readFileSync(join(out, "ours"), "utf8")).toBe("before\nafter\n");
      users.push(statSync(join(out, "x")).uid);
    }
    const own = process.getuid?.() ?? -1;
    if (own === 0) expect(Math.min(...users)).toBeGreaterThan(1_879_000_000);
    else expect(users).toEqual([own, own]);
    expect(new Set(users).size).toBe(own === 0 ? 2 : 1);
  });

  it.runIf(process.getuid?.() === 0)("refuses as root all that nobody may read", async () => {
    const secret = join(folder, "secret");
    writeFileSync(secret, "x", { mode: 0o600 });
    const modules = join(folder, "modules");
    mkdirSync(modules, { mode: 0o700 });
    writeFileSync(join(modules, "node"), "x", { mode: 0o700 });
    const readOnly = [
      { source: join(modules, "node"), target: "/node" },
      { source: modules, target: "/modules" },
      { source: secret, target: "/secret" },
    ];
    await expect(run("true", { readOnly })).rejects.toMatchObject({
      code: "ERR_SANDBOX_REQUEST",
      message: expect.stringContaining(`Type: chmod -R o+rX ${modules} ${secret}`) as string,
    });
  });

  it("lets a payload that says more than is taken wait, until it is taken or killed", async () => {
    const script =
      "for n in $(seq 200); do head -c 65536 /dev/zero; echo $n > /out/at; done; exec sleep $REST";
    const at = (): string => readFileSync(join(folder, "out", "at"), "utf8");
    for (const rest of ["0", "600"]) {
      const taken = Promise.withResolvers<undefined>();
      const abort = new AbortController();
      let size = 0;
      const onOutput = (_: string, bytes: Buffer): Promise<undefined> => {
        size += bytes.length;
        return taken.promise;
      };
      const limits = { ...LIMITS, outputBytes: 20_000_000 };
      const request = shell(script, { limits, env: { REST: rest } });
      const running = createSandbox({ onOutput }).run(request, abort.signal);
      await vi.waitUntil(() => size > 0, { timeout: 10_000 });
      let still = 0;
      let seen = "";
      while (still < 20) {
        await sleep(20);
        const now = size > 0 && existsSync(join(folder, "out", "at")) ? at() : "";
        still = now === seen ? still + 1 : 0;
        seen = now;
      }
      expect(size).toBeLessThan(1_000_000);
      if (rest === "600") abort.abort();
      else taken.resolve(undefined);
      const { ended } = await running;
      expect(ended).toBe(rest === "600" ? "cancelled" : "exited");
      if (rest === "0") expect(size).toBe(200 * 65_536);
      rmSync(join(folder, "out", "at"));
    }
  });

  it("shows the payload no environment, arguments or descriptors of ours", async () => {
    const { out } = await run(
      "tr '\\0' '\\n' < /proc/1/environ; tr '\\0' ' ' < /proc/1/cmdline; echo; env; ls /proc/self/fd",
      { env: { GIVEN: "1" } },
    );
    expect(out).toContain("GIVEN=1");
    expect(out).not.toContain(folder);
    expect(out).not.toMatch(/SOVEREIGN_(?!PATH=)|VITEST|NODE_/);
    // 0, 1, 2, and the descriptor with which ls reads the folder.
    expect(out.split("\n").filter((line) => /^\d+$/.test(line))).toEqual(["0", "1", "2", "3"]);
  });

  it.each([
    ["write to the system", "touch /usr/x /etc/x /bin/x /x"],
    ["write to a read-only mount", "touch /given/x"],
    ["reach the network", "exec 3<>/dev/tcp/127.0.0.1/22 || cat < /dev/tcp/1.1.1.1/53"],
    ["see the host's processes", "kill -0 $HOST_PID"],
    ["make a nested user namespace", "unshare -U true"],
    ["mount", "mount -t tmpfs x /tmp"],
  ])("refuses to let it %s", async (_, script) => {
    const result = await run(`bash -c '${script}' 2>/dev/null`, {
      readOnly: [{ source: join(folder, "out"), target: "/given" }],
      env: { HOST_PID: String(process.pid) },
    });
    expect(result.ended).toBe("exited");
    expect(result.exitCode).not.toBe(0);
  });

  it("ends a path at its wall clock, its output limit and its CPU limit", async () => {
    const limits = { ...LIMITS, wallMs: 300 };
    expect(await run("trap '' TERM INT HUP; sleep 30", { limits })).toMatchObject({
      ended: "wall_clock",
    });
    expect(await run("cat /dev/zero")).toMatchObject({ ended: "output_limit" });
    const busy = { ...LIMITS, cpuSeconds: 1 };
    expect(await run("while :; do :; done", { limits: busy })).toMatchObject({
      ended: "cpu_limit",
    });
  });

  it("refuses more processes, more memory and larger files than allowed", async () => {
    const forks = await run("i=0; while [ $i -lt 200 ]; do sleep 5 & i=$((i+1)); done; echo all", {
      limits: { ...LIMITS, wallMs: 3000 },
    });
    expect(forks.out).not.toContain("all");
    const memory = await run("exec perl -e '$x = \"a\" x (900 * 1024 * 1024); print length $x'");
    expect(memory.out).toBe("");
    const file = await run("head -c 5000000 /dev/zero > /out/big; stat -c %s /out/big");
    expect(Number(file.out)).toBeLessThanOrEqual(LIMITS.fileBytes);
  });

  it("kills everything at a cancel: ignored signals, own sessions, daemons, forks", async () => {
    const marker = `sleep ${300 + (process.pid % 1000)}.25`;
    const hostile = `trap '' TERM INT HUP
      setsid ${marker} & (setsid sh -c "${marker} & ${marker}" &) ; nohup ${marker} &
      echo ready > /out/ready; while :; do (sleep 0.01 &); done`;
    const controller = new AbortController();
    const ended = run(hostile, {}, controller.signal);
    while (!readdirSync(join(folder, "out")).includes("ready")) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(survivors(marker.split(" ")[1] as string).length).toBeGreaterThan(0);
    controller.abort();
    expect(await ended).toMatchObject({ ended: "cancelled" });
    expect(survivors(marker.split(" ")[1] as string)).toEqual([]);
  });

  it("kills daemons that a finished command left behind", async () => {
    const marker = `${400 + (process.pid % 1000)}.75`;
    const result = await run(`setsid sleep ${marker} >/dev/null 2>&1 & exit 0`);
    expect(result).toMatchObject({ ended: "exited", exitCode: 0 });
    expect(survivors(marker)).toEqual([]);
  });

  it.runIf(canFreeze)("says so when a process does not die", async () => {
    const mark = `${500 + (process.pid % 1000)}.125`;
    const controller = new AbortController();
    const running = run(`sleep ${mark}`, {}, controller.signal);
    // The shell of the launch has the mark in its words too: wait for the payload itself.
    while (!survivors(mark).some((pid) => commandOf(pid).startsWith("sleep")))
      await new Promise((resolve) => setTimeout(resolve, 10));
    const freezer = new Freezer();
    try {
      freezer.freeze(mark);
      controller.abort();
      await expect(running).rejects.toMatchObject({ code: "ERR_SANDBOX_SURVIVOR" });
    } finally {
      freezer.close();
    }
  });

  it("never starts the payload when whoever must know of it refuses", async () => {
    const sandbox = createSandbox({ backend, onStarted: () => Promise.reject(new Error("no")) });
    const signal = new AbortController().signal;
    await expect(sandbox.run(shell("touch /out/ran"), signal)).rejects.toThrow("no");
    expect(readdirSync(join(folder, "out"))).toEqual([]);
  });
});

describe("the sandbox", () => {
  beforeEach(() => {
    backend = "bubblewrap";
  });

  it("holds here, by its own probe", async () => {
    const report = await probeSandbox();
    expect(report.checks.filter((check) => !check.ok && !OPTIONAL.includes(check.name))).toEqual(
      [],
    );
    expect(["G3", "G2"]).toContain(report.level);
  });

  it("refuses to run without bubblewrap, unless the configuration asks for no confinement", async () => {
    const signal = new AbortController().signal;
    const searchPath = "/nonexistent";
    await expect(createSandbox({ searchPath }).run(shell("true"), signal)).rejects.toMatchObject({
      code: "ERR_SANDBOX_UNAVAILABLE",
      message: expect.stringContaining("apt-get install bubblewrap") as string,
    });
    const unsafe = createSandbox({ searchPath, minimumLevel: "G0" });
    expect(await unsafe.run(shell("exit 3"), signal)).toMatchObject({ level: "G0", exitCode: 3 });
  });

  it("refuses a container where its runtime is not installed, even where nothing confines", async () => {
    const signal = new AbortController().signal;
    const asked = { backend: "container", searchPath: "/nonexistent" } as const;
    for (const minimumLevel of ["G3", "G2", "G0"] as const) {
      await expect(
        createSandbox({ ...asked, minimumLevel }).run(shell("touch /out/ran"), signal),
      ).rejects.toMatchObject({
        code: "ERR_SANDBOX_UNAVAILABLE",
        message: expect.stringContaining("apt-get install crun") as string,
      });
    }
    expect(readdirSync(join(folder, "out"))).toEqual([]);
  });

  it.each([
    ["the root", "/", "/x"],
    ["the home folder", homedir(), "/x"],
    ["a missing source", "/no/such/thing", "/x"],
    ["a relative source", "etc", "/x"],
    ["a target that climbs", "/usr", "/a/../b"],
  ])("refuses to mount %s", async (_, source, target) => {
    await expect(run("true", { readOnly: [{ source, target }] })).rejects.toMatchObject({
      code: "ERR_SANDBOX_REQUEST",
    });
  });

  it("refuses words with NUL bytes and odd environment names", async () => {
    await expect(run("true", { env: { "A B": "1" } })).rejects.toMatchObject({
      code: "ERR_SANDBOX_REQUEST",
    });
    await expect(run("tr\0ue")).rejects.toMatchObject({ code: "ERR_SANDBOX_REQUEST" });
  });
});
