import { spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createSandbox, type SandboxRequest, type StartedPath } from "../../src/sandbox/index.ts";
import { REFUSED } from "../../src/sandbox/system-calls.ts";
import { BACK_ENDS, type BackEnd, requireInstalled } from "../support/back-ends.ts";
import { survivors } from "../support/survivors.ts";

const [, container] = BACK_ENDS as readonly [BackEnd, BackEnd];
const ROOT = process.getuid?.() === 0;
const X64 = process.arch === "x64";
const COLUMN = X64 ? 0 : 1;
const number = (x64: number, arm64: number): number => (X64 ? x64 : arm64);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-container-"));
  mkdirSync(join(folder, "out"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function request(argv: readonly string[], more: Partial<SandboxRequest> = {}): SandboxRequest {
  return {
    argv,
    cwd: "/tmp",
    readOnly: [],
    writable: [{ source: join(folder, "out"), target: "/out" }],
    env: {},
    limits: {
      wallMs: 20_000,
      cpuSeconds: 10,
      memoryBytes: 512 * 1024 * 1024,
      processes: 32,
      outputBytes: 100_000,
      fileBytes: 100_000,
    },
    ...more,
  };
}

const quiet = new AbortController().signal;

async function outputOf(
  backend: BackEnd["backend"],
  argv: readonly string[],
  more: Partial<SandboxRequest> = {},
): Promise<string> {
  const { stdout, stderr } = await createSandbox({ backend }).run(request(argv, more), quiet);
  return Buffer.concat([stdout, stderr]).toString("utf8").trim();
}

/** What the kernel answers to each: `name errno`, each in a process of its own, as some would block. */
function asks(
  calls: readonly (readonly [name: string, ...words: (number | string)[]])[],
): string[] {
  const lines = calls.map(
    ([name, ...words]) =>
      `unless (fork) { my $r = syscall(${words.join(", ")}); print "${name} ", $r == -1 ? $! + 0 : 0, "\\n"; exit } wait; print "${name} signal ", $? & 127, "\\n" if $? & 127;`,
  );
  return ["/usr/bin/perl", "-e", `$| = 1; ${lines.join("\n")}`];
}

/** Queues and semaphores, asynchronous I/O, rulesets, secret memory, and what newer kernels add. */
const ABSENT = [
  ...(X64
    ? [64, 65, 66, 68, 69, 70, 71, 139, 206, 207, 208, 209, 210, 216, 220, 237, 238, 240, 241, 301]
    : [0, 1, 2, 3, 4, 180, 181, 186, 187, 188, 189, 190, 191, 192, 193, 234, 235, 237, 263]),
  ...[444, 445, 446, 447, 448, 450, 457, 458, 459, 460, 461, 467, 468, 469, 470, 500, 1000],
];

const CALLS: [string, ...(number | string)[]][] = [
  ...Object.entries(REFUSED).flatMap(([name, numbers]): [string, number, number][] => {
    const found = numbers[COLUMN];
    // Minus one is no valid argument of any of them: nothing happens without the filter either.
    return found === null ? [] : [[name, found, -1]];
  }),
  ["clone3", 435, 0, 0],
  // Those that do not exist for a path, with arguments that none of them takes.
  ...ABSENT.map((call): [string, number, number, number] => [`absent ${call}`, call, -1, -1]),
  ["merging of memory", number(157, 167), 67, 1, 0, 0, 0],
  ["a thread's name", number(157, 167), 16, 0],
  // Each is judged before the kernel looks at what else was asked for.
  ["sharing descriptors", number(56, 220), 0x400, 0, 0, 0, 0],
  ["locks of an open file", number(72, 25), 0, 37, 0],
  ["locks of an open file in 64 bits", number(72, 25), 0, "0x100000026", 0],
  ["a lock of a process", number(72, 25), 0, 5, 0],
  ["a watcher of files", number(294, 26), 0],
  ...[0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000].map(
    (flag): [string, ...number[]] => [`clone ${flag}`, number(56, 220), flag, 0, 0, 0, 0],
  ),
  ["typing", number(16, 29), 0, 0x5412, 0],
  ["typing in 64 bits", number(16, 29), 0, "0x100005412", 0],
  ["the console", number(16, 29), 0, 0x541c, 0],
  ["another ioctl", number(16, 29), 0, 0x5401, 0],
  ["the death signal", number(157, 167), 1, 0],
  ...Array.from({ length: 46 }, (_, family): [string, ...number[]] => [
    `socket ${family}`,
    number(41, 198),
    family,
    2,
    0,
  ]),
  ["routes", number(41, 198), 16, 3, 0],
  ["other netlink", number(41, 198), 16, 3, 9],
];

describe("a container", () => {
  beforeEach(() => {
    requireInstalled(container.absent);
  });

  it("is under the same system call filter as bubblewrap, call by call", async () => {
    const [plain, contained] = await Promise.all([
      outputOf("bubblewrap", asks(CALLS)),
      outputOf("container", asks(CALLS)),
    ]);
    expect(contained.split("\n")).toHaveLength(CALLS.length);
    expect(contained).toBe(plain);
    for (const name of Object.keys(REFUSED)) {
      if (REFUSED[name]?.[COLUMN] !== null) expect(contained).toContain(`${name} 1\n`);
    }
    expect(contained.match(/^absent \d+ 38$/gm)).toHaveLength(ABSENT.length);
    expect(contained).toMatch(/^clone3 38$/m);
    expect(contained).toMatch(/^sharing descriptors 1$/m);
    expect(contained.match(/^locks of an open file.* 22$/gm)).toHaveLength(2);
    expect(contained).toMatch(/^a lock of a process 14$/m);
    expect(contained).toMatch(/^a watcher of files 24$/m);
    expect(contained).toMatch(/^merging of memory 38$/m);
    expect(contained).toMatch(/^a thread's name 14$/m);
    expect(contained).toMatch(/^the death signal 0$/m);
    expect(contained).toMatch(/^socket 40 97$/m);
  });

  it.runIf(X64)("has no second door to the kernel", async () => {
    // ptrace by the x32 calls: libseccomp refuses another machine's calls by killing.
    expect(await outputOf("container", asks([["x32", "0x40000000 + 521", 16, 1]]))).toMatch(
      /^x32 (signal 31|38)$/,
    );
  });

  it("shows nothing of the machine beyond what bubblewrap shows", async () => {
    const looks = ["/bin/sh", "-c", "ls -A / /etc /home /dev/shm; cat /proc/net/dev | wc -l"];
    const without = (text: string): string[] => text.split("\n").sort();
    expect(without(await outputOf("container", looks))).toEqual(
      without(await outputOf("bubblewrap", looks)),
    );
  });

  it("has a set-up that no file size limit hinders, and holds the payload to it", async () => {
    const limits = { ...request([]).limits, fileBytes: 10 };
    const script = "head -c 100 /dev/zero > /out/large; stat -c %s /out/large";
    expect(await outputOf("container", ["/bin/sh", "-c", script], { limits })).toMatch(/^10$/m);
  });

  it("keeps what is mounted in a read-only folder read-only as well", async ({ skip }) => {
    skip(!ROOT, "only root can mount one there");
    const given = join(folder, "given");
    mkdirSync(join(given, "inner"), { recursive: true });
    expect(spawnSync("mount", ["-t", "tmpfs", "inner", join(given, "inner")]).status).toBe(0);
    try {
      writeFileSync(join(given, "inner", "file"), "kept");
      const script = "echo lost > /given/inner/file || echo lost > /given/inner/other";
      const out = await outputOf("container", ["/bin/sh", "-c", script], {
        readOnly: [{ source: given, target: "/given" }],
      });
      // crun shows it or not, by how its user namespace is made; it is written to in neither case.
      expect(out.match(/Read-only file system/g)).toHaveLength(2);
      expect(readFileSync(join(given, "inner", "file"), "utf8")).toBe("kept");
      expect(readdirSync(join(given, "inner"))).toEqual(["file"]);
    } finally {
      spawnSync("umount", [join(given, "inner")]);
    }
  });

  it("covers what lies in a writable folder by what is read-only", async () => {
    const tree = join(folder, "tree");
    mkdirSync(join(tree, ".git"), { recursive: true });
    mkdirSync(join(folder, "empty"), { recursive: true });
    writeFileSync(join(tree, ".git", "config"), "secret");
    const script =
      "ls -A /workspace/.git; touch /workspace/.git/x; rmdir /workspace/.git; umount /workspace/.git; touch /workspace/made";
    const out = await outputOf("container", ["/bin/sh", "-c", script], {
      readOnly: [{ source: join(folder, "empty"), target: "/workspace/.git" }],
      writable: [{ source: tree, target: "/workspace" }],
    });
    expect(out).not.toContain("config");
    expect(out).toContain("Read-only file system");
    expect(readdirSync(tree).sort()).toEqual([".git", "made"]);
    expect(readdirSync(join(tree, ".git"))).toEqual(["config"]);
  });

  it("runs nothing where it cannot set up, and makes nothing in what is only read", async () => {
    const given = join(folder, "only-read");
    mkdirSync(given);
    const mounts = [
      { source: given, target: "/given" },
      { source: join(folder, "out"), target: "/given/no/such" },
    ];
    const cases = [
      { more: { cwd: "/no/such/folder" }, why: "/no/such/folder" },
      { more: { readOnly: mounts }, why: "no" },
    ];
    for (const { more, why } of cases) {
      const asked = request(["/bin/sh", "-c", "touch /out/ran"], more);
      const running = createSandbox({ backend: "container" }).run(asked, quiet);
      await expect(running).rejects.toMatchObject({ code: "ERR_SANDBOX_UNAVAILABLE" });
      await expect(running).rejects.toThrow(/^crun cannot make a sandbox here: /);
      await expect(running).rejects.toThrow(why);
    }
    expect(readdirSync(join(folder, "out"))).not.toContain("ran");
    expect(readdirSync(given)).toEqual([]);
  });

  it("refuses to cover what an earlier payload made a link", async () => {
    const tree = join(folder, "linked");
    mkdirSync(join(tree, "real"), { recursive: true });
    symlinkSync("real", join(tree, ".git"));
    const running = createSandbox({ backend: "container" }).run(
      request(["/bin/sh", "-c", "touch /out/ran"], {
        readOnly: [{ source: join(folder, "out"), target: "/workspace/.git" }],
        writable: [{ source: tree, target: "/workspace" }],
      }),
      quiet,
    );
    await expect(running).rejects.toMatchObject({ code: "ERR_SANDBOX_REQUEST" });
    expect(readdirSync(join(folder, "out"))).not.toContain("ran");
  });

  it("runs wherever others stand in the temporary folder, and leaves nothing there", () => {
    const uid = process.getuid?.() ?? 0;
    const place = mkdtempSync(join(folder, "tmp-"));
    for (const name of ["container", "rooms"])
      writeFileSync(join(place, `sovereign-${name}-${uid}`), "");
    const program = join(import.meta.dirname, "../support/sandbox-program.ts");
    const env = { PATH: process.env["PATH"], TMPDIR: place };
    const run = spawnSync(process.execPath, [program, "container", "echo ran"], { env });
    expect(run.stdout.toString()).toBe("exited ran\n");
    expect(readdirSync(place)).toHaveLength(2);
  });

  it.each<[string, (place: string) => void]>([
    [
      "a file",
      (place) => {
        writeFileSync(place, "");
      },
    ],
    [
      "a link",
      (place) => {
        symlinkSync(folder, place);
      },
    ],
    [
      "a folder that others may write to",
      (place) => {
        mkdirSync(place);
        chmodSync(place, 0o777);
      },
    ],
  ])("runs nothing where %s stands in its place", async (name, put) => {
    const mountPoint = join(folder, `place-${name.replaceAll(" ", "-")}`);
    put(mountPoint);
    const asked = request(["/bin/sh", "-c", "touch /out/ran"]);
    const running = createSandbox({ backend: "container", mountPoint }).run(asked, quiet);
    await expect(running).rejects.toMatchObject({ code: "ERR_SANDBOX_UNAVAILABLE" });
    expect(readdirSync(join(folder, "out"))).not.toContain("ran");
  });

  it("is announced with the process with which all of it dies, and the payload's namespace", async () => {
    let started: StartedPath | null = null;
    const onStarted = (path: StartedPath): Promise<void> => {
      started = path;
      return Promise.resolve();
    };
    const sandbox = createSandbox({ backend: "container", onStarted });
    const { stdout, backend } = await sandbox.run(
      request(["/bin/readlink", "/proc/self/ns/pid"]),
      quiet,
    );
    expect(backend).toBe("container");
    const namespace = /\d+/.exec(Buffer.from(stdout).toString("utf8"))?.[0];
    expect(started).toMatchObject({ pidNamespace: namespace });
  });

  it.each(["outer", "inner"] as const)("dies whole with its %s process", async (which) => {
    const mark = `${600 + (process.pid % 1000)}.${which === "outer" ? "5" : "25"}`;
    let known: StartedPath | null = null;
    const onStarted = (path: StartedPath): Promise<void> => {
      known = path;
      return Promise.resolve();
    };
    const script = `trap '' TERM; (setsid sleep ${mark} &); echo > /out/${which}; sleep ${mark}`;
    const running = createSandbox({ backend: "container", onStarted }).run(
      request(["/bin/sh", "-c", script]),
      quiet,
    );
    await expect.poll(() => readdirSync(join(folder, "out")), { timeout: 10_000 }).toContain(which);
    const path = known as unknown as StartedPath;
    process.kill(path[which]?.pid ?? -1, "SIGKILL");
    const end = await running;
    // Some versions of unshare cannot pass on how their child was killed, and say that they failed.
    expect(end.ended).toMatch(which === "outer" ? /^signalled$/ : /^(signalled|exited)$/);
    expect(end.exitCode).not.toBe(0);
    expect(survivors(mark)).toEqual([]);
  });
});
