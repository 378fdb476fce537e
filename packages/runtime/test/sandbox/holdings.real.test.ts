import { beforeEach, describe, expect, it } from "vitest";
import { ControlGroups } from "../../src/process/index.ts";
import { createSandbox, type SandboxLimits, type SandboxResult } from "../../src/sandbox/index.ts";
import { HOLDINGS, SHM_FILES } from "../../src/sandbox/holdings.ts";
import { BACK_ENDS, type BackEnd, requireInstalled } from "../support/back-ends.ts";

// Each payload makes as much as it can of something that its death has to take apart.

const LIMITS: SandboxLimits = {
  wallMs: 30_000,
  cpuSeconds: 30,
  memoryBytes: 2048 * 1024 * 1024,
  processes: 256,
  outputBytes: 100_000,
  fileBytes: 1_000_000,
};
const X64 = process.arch === "x64";
const number = (x64: number, arm64: number): number => (X64 ? x64 : arm64);

let backend: BackEnd["backend"];

async function attack(
  script: string,
  limits: Partial<SandboxLimits> = {},
  signal = new AbortController().signal,
): Promise<{ out: string; end: SandboxResult }> {
  const end = await createSandbox({ backend }).run(
    {
      argv: ["/usr/bin/perl", "-e", script],
      cwd: "/tmp",
      readOnly: [],
      writable: [],
      env: {},
      limits: { ...LIMITS, ...limits },
    },
    signal,
  );
  return { out: Buffer.concat([end.stdout, end.stderr]).toString("utf8"), end };
}

/** As many as the kernel gives, in each folder that may be written to. */
const makes = (make: string): string =>
  `for my $d ("/tmp", "/home/agent", "/dev/shm") { my $i = 0; $i++ while $i < 300000 && ${make}; print "$i\\n" }`;

/** `count` processes that each do it; the first one waits for ever. */
const each = (count: number, work: string): string =>
  `for my $p (1..${count}) { my $pid = fork; if (!$pid) { ${work} sleep 60; exit } } sleep 60;`;

const MMAP = number(9, 222);
const MPROTECT = number(10, 226);
/** Every other page has other rights, and so is a mapping of its own. */
const MAPPINGS = `my $n = 60000; my $at = syscall(${MMAP}, 0, $n * 8192, 0, 0x4022, -1, 0);
  for (1..$n) { last if syscall(${MPROTECT}, $at + $_ * 8192, 4096, 1) }`;
const EPOLLS = `my @t = map { syscall(${number(290, 19)}, 0, 0) } 1..450; my $ev = pack("LQ", 1, 0);
  for (1..450) { my $e = syscall(${number(291, 20)}, 0);
    syscall(${number(233, 21)}, $e, 1, $_, $ev) for @t }`;
/** Each maps the same hundred mebibytes again and again, page by page. */
const PAGE_TABLES = `open my $f, "+>", "/tmp/big$$" or die; my $z = "x" x 900000; print $f $z; close $f;
  open $f, "<", "/tmp/big$$"; my $fd = fileno $f;
  for (1..20000) { last if syscall(${MMAP}, 0, 900000, 1, 0x8001, $fd, 0) == -1 }`;

describe.each(BACK_ENDS)("what a path may own in $title", (one) => {
  beforeEach(() => {
    requireInstalled(one.absent);
    backend = one.backend;
  });

  it.each([
    ["empty files", `open(my $f, ">", "$d/f$i")`],
    ["folders in folders", `(($i ? 1 : chdir $d) && mkdir("n") && chdir("n"))`],
    ["links to one file", `do { open(my $f, ">>", "$d/f"); link("$d/f", "$d/l$i") }`],
  ])("is bounded in its %s", async (_, make) => {
    const { out, end } = await attack(makes(make));
    expect(end.ended).toBe("exited");
    const [tmp = 0, home = 0, shm = 0] = out.trim().split("\n").map(Number);
    expect(tmp).toBeGreaterThan(HOLDINGS.temporaryFiles.usual - 4);
    expect(tmp + home).toBeLessThanOrEqual(HOLDINGS.temporaryFiles.usual);
    expect(shm).toBeLessThanOrEqual(SHM_FILES);
  });

  it("is bounded by what is asked for", async () => {
    const { out } = await attack(makes(`open(my $f, ">", "$d/f$i")`), { temporaryFiles: 100 });
    expect(out).toBe(`100\n0\n${SHM_FILES}\n`);
  });

  it("is never more than can be freed in time", async () => {
    const most = HOLDINGS.temporaryFiles.most;
    await expect(attack("1", { temporaryFiles: most + 1 })).rejects.toMatchObject({
      code: "ERR_SANDBOX_REQUEST",
    });
    const kernelBytes = HOLDINGS.kernelBytes.most + 1;
    await expect(attack("1", { kernelBytes })).rejects.toMatchObject({
      code: "ERR_SANDBOX_REQUEST",
    });
  });

  const counted = ControlGroups.root("standalone").limitsMemory;
  it.runIf(counted).each([
    ["mappings", each(100, MAPPINGS)],
    ["nests of epoll", each(8, EPOLLS)],
    ["page tables", each(20, PAGE_TABLES)],
  ])("is bounded in its %s", async (_, script) => {
    const { out, end } = await attack(script);
    expect(end.ended).toBe("memory_limit");
    expect(out).toMatch(/it owned \d+ MiB of kernel memory, at most 64 MiB/);
  });

  it.runIf(counted)("is bounded in what lies in its sockets", async () => {
    // The sockets themselves are half of what a path may own.
    const script = each(
      40,
      `use Socket; for (1..200) { socket(my $s, 2, 2, 0) or last; push @k, $s;
        bind($s, sockaddr_in(0, inet_aton("127.0.0.1"))); my $a = getsockname $s;
        for (1..300) { last unless send($s, "x", 0x40, $a) } }`,
    );
    const { out, end } = await attack(script);
    expect(end.ended).toBe("memory_limit");
    expect(out).toMatch(/it owned \d+ MiB of kernel memory, at most 64 MiB/);
  });

  it.runIf(ControlGroups.root("standalone").folders.length > 0)(
    "is bounded in its file locks",
    async () => {
      const script = each(
        2,
        `for my $i (1..900) { open(my $f, "+>", "/tmp/l$$.$i") or last; push @k, $f;
          for my $j (1..500) { fcntl($f, 6, pack("s s x4 q q i x4", 1, 0, $j * 2, 1, 0)) or last } }`,
      );
      const { out, end } = await attack(script);
      expect(end.ended).toBe("memory_limit");
      expect(out).toMatch(/it held \d+ file locks, at most 8192/);
    },
  );

  it.runIf(counted)("is bounded for all paths together", async () => {
    const files = `my $i = 0; $i++ while open my $f, ">", "/tmp/f$i"; sleep 60`;
    const controller = new AbortController();
    const ends = Array.from({ length: 8 }, async () => {
      const { end, out } = await attack(files, {}, controller.signal);
      controller.abort();
      return `${end.ended} ${out}`;
    });
    const ended = (await Promise.all(ends)).filter((one) => one.startsWith("memory_limit"));
    expect(ended[0]).toContain("all paths together more than the 240 ms that a stop has");
  });

  it.runIf(counted)("is not what the kernel remembers of files that it read", async () => {
    const script = `system("find /usr -ls > /dev/null 2>&1"); print "done"`;
    const { out, end } = await attack(script, { kernelBytes: 24 * 1024 * 1024 });
    expect([end.ended, out]).toEqual(["exited", "done"]);
  });
});
