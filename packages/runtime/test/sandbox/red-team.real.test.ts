import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { getPriority, homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ControlGroups } from "../../src/process/index.ts";
import { createSandbox, type SandboxRequest } from "../../src/sandbox/index.ts";
import { BACK_ENDS, type BackEnd, requireInstalled } from "../support/back-ends.ts";

// Each attack is really tried from inside a path, in Perl, which every Debian has. It prints
// DONE when it succeeded.
let backend: BackEnd["backend"];
let folder: string;
let listener: Server;
let port = 0;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-red-"));
  mkdirSync(join(folder, "out"));
  mkdirSync(join(folder, "given"));
  writeFileSync(join(folder, "secret"), "the secret");
  writeFileSync(join(folder, "given", "file"), "given");
  listener = createServer((socket) => socket.end("reached")).listen(0, "127.0.0.1");
  await new Promise((ready) => listener.once("listening", ready));
  port = (listener.address() as { port: number }).port;
});
afterAll(() => {
  listener.close();
  rmSync(folder, { recursive: true, force: true });
});

const LIMITS: SandboxRequest["limits"] = {
  wallMs: 20_000,
  cpuSeconds: 10,
  memoryBytes: 512 * 1024 * 1024,
  processes: 32,
  outputBytes: 200_000,
  fileBytes: 8_000_000,
};

async function attack(argv: readonly string[]): Promise<{ out: string; ended: string }> {
  const { stdout, stderr, ended } = await createSandbox({ backend }).run(
    {
      argv,
      cwd: "/tmp",
      readOnly: [{ source: join(folder, "given"), target: "/given" }],
      writable: [{ source: join(folder, "out"), target: "/out" }],
      env: { HOST_PID: String(process.pid), PORT: String(port), FOLDER: folder },
      limits: LIMITS,
    },
    new AbortController().signal,
  );
  const out = Buffer.concat([stdout, stderr]).toString("utf8");
  return { out, ended };
}

const perl = (script: string): readonly string[] => ["/usr/bin/perl", "-e", script];
const shell = (script: string): readonly string[] => ["/bin/bash", "-c", script];
const X64 = process.arch === "x64";
/** A system call by its number here: it prints DONE when the kernel lets it through. */
const call = (
  x64: number,
  arm64: number,
  ...args: readonly (string | number)[]
): readonly string[] =>
  perl(
    `my @a = (${args.map((arg) => (typeof arg === "number" ? arg : JSON.stringify(arg))).join(", ")});
     my $r = syscall(${X64 ? x64 : arm64}, @a); print $r == -1 ? "refused $!" : "DONE $r";`,
  );

describe.each(BACK_ENDS)("from inside a path of $title", (one) => {
  beforeEach(() => {
    requireInstalled(one.absent);
    backend = one.backend;
  });

  it.each<[string, readonly string[]]>([
    ["ptrace", call(101, 117, 16, 1, 0, 0)],
    ["another process's memory", call(310, 270, 1, 0, 0, 0, 0, 0)],
    ["a pidfd", call(434, 434, 1, 0)],
    ["a new user namespace", call(272, 97, 0x10000000)],
    ["a new mount namespace", call(272, 97, 0x20000)],
    [
      "another's namespace",
      perl(
        `open(my $f, "<", "/proc/1/ns/mnt"); print "DONE" if $f && syscall(${X64 ? 308 : 268}, fileno($f), 0) == 0`,
      ),
    ],
    ["mount", call(165, 40, "x", "/tmp", "tmpfs", 0, 0)],
    ["pivot_root", call(155, 41, "/tmp", "/tmp")],
    ["chroot", call(161, 51, "/tmp")],
    ["io_uring", call(425, 425, 8, 0)],
    ["bpf", call(321, 280, 0, 0, 0)],
    ["perf events", call(298, 241, 0, 0, 0, 0, 0)],
    ["userfaultfd", call(323, 282, 0)],
    ["the kernel's keyring", call(250, 219, 0, -3, 0)],
    ["a file handle", call(304, 265, -100, 0, 0)],
    ["the kernel's log", call(103, 116, 3, 0, 0)],
    ["a kernel module", call(313, 273, 0, "", 0)],
    ["a reboot", call(169, 142, 0, 0, 0, 0)],
    ["setting the clock", call(227, 112, 0, 0)],
    ["a vsock", perl('print "DONE" if socket(my $s, 40, 1, 0)')],
    ["a packet socket", perl('print "DONE" if socket(my $s, 17, 3, 0)')],
    ["an exotic netlink socket", perl('print "DONE" if socket(my $s, 16, 3, 9)')],
    [
      "typing into a terminal",
      perl(
        'open(my $t, "+<", "/dev/tty") or exit; my $c = "x"; print "DONE" if ioctl($t, 0x5412, $c)',
      ),
    ],
    [
      "the host's TCP port",
      perl(
        'use IO::Socket::INET; print "DONE" if IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ENV{PORT}, Timeout => 2)',
      ),
    ],
    ["an address outside", shell("exec 3<>/dev/tcp/1.1.1.1/53 && echo DONE")],
    [
      "a host's abstract socket",
      perl(
        'use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0); print "DONE" if connect($s, pack_sockaddr_un("\\0sovereign-0-x"))',
      ),
    ],
    ["the host's files by path", shell('cat "$FOLDER/secret" && echo DONE')],
    ["the user's home", shell(`ls ${homedir()} && echo DONE`)],
    [
      "the host's files by a link",
      shell("ln -s ../../../../etc/shadow /out/link; cat /out/link && echo DONE"),
    ],
    ["a hard link to a set-uid program", shell("ln /usr/bin/su /out/su && echo DONE")],
    [
      "set-uid",
      shell(
        "cp /usr/bin/su /out/su2; chmod u+s /out/su2; /out/su2 -c true </dev/null && echo DONE",
      ),
    ],
    ["writing to the system", shell("touch /usr/x || touch /etc/x || touch /x && echo DONE")],
    ["writing to what was given to read", shell("echo x > /given/file && echo DONE")],
    ["unmounting what was given", shell("umount /given && echo DONE")],
    ["writing to /dev itself", shell("echo x > /dev/file && echo DONE")],
    ["a device", shell("mknod /tmp/sda b 8 0 && echo DONE")],
    ["a host process", shell("kill -9 $HOST_PID && echo DONE")],
    ["a higher priority", shell("chrt -f -p 50 $$ && echo DONE")],
    [
      "protection from the memory's end",
      shell("echo -1000 > /proc/self/oom_score_adj && echo DONE"),
    ],
    ["raising its own limits", shell("ulimit -Hf unlimited && ulimit -f unlimited && echo DONE")],
  ])("%s is out of reach", async (_, argv) => {
    const { out, ended } = await attack(argv);
    expect(out).not.toContain("DONE");
    expect(ended).toMatch(/exited|signalled/);
  });

  it("the death signal of its first process cannot be taken away, and asking is no failure", async () => {
    const number = X64 ? 157 : 167;
    const { out } = await attack(
      perl(`print syscall(${number}, 1, 0, 0, 0, 0) == 0 ? "answered" : "failed"`),
    );
    expect(out).toBe("answered");
    const read = `my $s = pack("i", 7); syscall(${number}, 2, $s); print unpack("i", $s), " ";`;
    const { out: told } = await attack(perl(`${read} syscall(${number}, 1, 5); ${read}`));
    // SIGKILL as bubblewrap set it, or none in a container and in one that changed its user since: no call changes it.
    expect(told).toMatch(/^(9 9|0 0) $/);
  });

  it("a filter is in force, without new privileges, and it is never ahead of others' work", async () => {
    const { out } = await attack(
      shell(
        "grep -E 'Seccomp:|NoNewPrivs:|CapEff:' /proc/self/status; chrt -p $$; echo nice $(nice)",
      ),
    );
    expect(out).toMatch(/Seccomp:\s+2/);
    expect(out).toMatch(/NoNewPrivs:\s+1/);
    expect(out).toMatch(/CapEff:\s+0000000000000000/);
    // The lowest class where its group can be raised when it must die, else that of other work; and never the
    // priority of root's sentinel.
    const { weighs } = ControlGroups.root("standalone");
    expect(out).toContain(weighs ? "SCHED_IDLE" : "SCHED_OTHER");
    expect(out).toContain(weighs ? "nice 19" : `nice ${Math.max(0, getPriority())}`);
  });

  it("a flood of output is cut off, and fills no memory of ours", async () => {
    const before = process.memoryUsage().rss;
    const { ended } = await attack(shell("cat /dev/zero"));
    expect(ended).toBe("output_limit");
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
  });

  it("filling its own places ends at their sizes", async () => {
    const { out } = await attack(
      shell(
        "for d in /tmp /dev/shm /home/agent; do head -c 7000000 /dev/zero > $d/a; done; df -k /dev/shm | tail -1 | awk '{print $2}'; head -c 20000000 /dev/zero > /dev/shm/b 2>/dev/null; stat -c %s /dev/shm/b",
      ),
    );
    const [shm = "", written = ""] = out.trim().split("\n");
    expect(Number(shm)).toBeLessThanOrEqual(16 * 1024);
    expect(Number(written)).toBeLessThanOrEqual(LIMITS.fileBytes);
  });

  it("a core dump is not left behind", async () => {
    await attack(shell("cd /out; ulimit -c unlimited; kill -SEGV $$"));
    expect(readdirSync(join(folder, "out")).filter((name) => name.includes("core"))).toEqual([]);
  });
});
