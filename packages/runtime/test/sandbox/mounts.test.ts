import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type JsonObject, sha256Hex, type Toolset, utf8Encode } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parsePolicy } from "../../src/policy/index.ts";
import { homeOf, type Machine, requireUnchanged, resolveTools } from "../../src/sandbox/index.ts";

let folder: string;
let machine: Machine & { tree: NonNullable<Machine["tree"]> };
let tracked: Set<string>;
const servers: Server[] = [];

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "sov-mounts-")));
  tracked = new Set();
  machine = {
    environment: { PATH: join(folder, "bin"), HOME: join(folder, "home/me") },
    home: join(folder, "home/me"),
    dataFolder: join(folder, "data"),
    tree: {
      root: join(folder, "repo"),
      gitDir: join(folder, "repo/.git"),
      isTracked: (path) => tracked.has(path),
    },
  };
  for (const name of ["home/me/.ssh", "data/keys", "repo/.git", "tools/bin"]) make(name);
  put("home/me/.ssh/id_ed25519");
  put("tools/bin/tool");
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

function make(path: string): string {
  mkdirSync(join(folder, path), { recursive: true });
  return join(folder, path);
}
function put(path: string, text = "x"): string {
  make(dirname(path));
  writeFileSync(join(folder, path), text);
  return join(folder, path);
}
const policyOf = (more: JsonObject) =>
  parsePolicy(
    utf8Encode(JSON.stringify({ policy_id: "p", schema_version: "1.0.0", ...more })),
    "policy.json",
  );
async function resolved(more: JsonObject): Promise<Toolset> {
  const { tools } = policyOf(more);
  if (tools === null) throw new Error("expected tools");
  return resolveTools(tools, machine);
}
const mounting = (path: string, more: JsonObject = {}): Promise<Toolset> =>
  resolved({ mounts: [{ path, ...more }] });

describe("a mount of the policy", () => {
  it("is known by its path, its contents and its size", async () => {
    const { mounts } = await mounting(join(folder, "tools"));
    expect(mounts).toMatchObject([
      {
        by: "mounts",
        path: join(folder, "tools"),
        at: join(folder, "tools"),
        entries: 3,
        bytes: 1,
      },
    ]);
    expect(mounts[0]?.access).toBe("read-only");
    expect(mounts[0]?.sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it("of one file has the digest that sha256sum says", async () => {
    const { mounts } = await mounting(join(folder, "tools/bin/tool"));
    expect(mounts[0]?.sha256).toBe(sha256Hex(utf8Encode("x")));
  });

  it("has the contents that its digest names, or is refused", async () => {
    const path = join(folder, "tools");
    const digest = (await mounting(path)).mounts[0]?.sha256 ?? "";
    await expect(mounting(path, { digest })).resolves.toBeDefined();
    put("tools/bin/tool", "y");
    await expect(mounting(path, { digest })).rejects.toThrow(/expected the digest/);
  });

  it.each([
    ["the root", () => "/"],
    ["a top folder", () => "/opt"],
    ["the processes", () => "/proc/self"],
    ["a process's root", () => "/proc/self/root/usr"],
    ["the kernel's files", () => "/sys/kernel"],
    ["devices", () => "/dev/null"],
    ["sockets of services", () => "/run"],
    ["the system's configuration", () => "/etc/passwd"],
    ["data of services", () => "/var/lib/dpkg"],
    ["a home folder", () => "/home/somebody"],
    ["our own home folder", () => machine.home],
    ["what our home folder is in", () => dirname(machine.home)],
    ["ssh's keys", () => "~/.ssh"],
    ["a key", () => "~/.ssh/id_ed25519"],
    ["ssh's keys by a detour", () => join(folder, "home/me/../me/.ssh")],
    ["the installation", () => machine.dataFolder],
    ["the installation's keys", () => join(machine.dataFolder, "keys")],
    ["the repository", () => machine.tree.root],
    ["what the repository is in", () => folder],
    ["git's own folder", () => machine.tree.gitDir],
    ["nothing", () => join(folder, "nowhere")],
    ["a path out of the tree", () => "../tools"],
    ["the tree itself", () => "."],
  ])("is never %s", async (_, path) => {
    await expect(mounting(path())).rejects.toMatchObject({ code: "ERR_MOUNT_REFUSED" });
  });

  it.each([
    ".aws",
    ".gnupg",
    ".kube",
    ".docker",
    ".config/gh",
    ".cargo",
    ".m2",
    ".gradle",
    ".local",
  ])("is never ~/%s, where keys are kept", async (name) => {
    put(`home/me/${name}/file`);
    await expect(mounting(`~/${name}`)).rejects.toMatchObject({ code: "ERR_MOUNT_REFUSED" });
  });

  it.each([".ssh/config", ".netrc", "deep/er/ID_RSA", "keys/root.key.json", ".aws/credentials"])(
    "has no keys in it (%s)",
    async (name) => {
      put(`tools/${name}`);
      await expect(mounting(join(folder, "tools"))).rejects.toThrow(/it keeps keys/);
    },
  );

  it("is judged where it really is, whatever links are called", async () => {
    symlinkSync(machine.home, join(folder, "tools/linked"));
    await expect(mounting(join(folder, "tools/linked/.ssh"))).rejects.toThrow(/keys are kept/);
    symlinkSync(join(folder, "tools"), join(folder, "repo/node_modules"));
    await expect(mounting("node_modules")).rejects.toThrow(/a link leads out of/);
  });

  it("has no sockets, pipes or devices in it: they lead to the machine's processes", async () => {
    const path = join(folder, "tools/bin/socket");
    await new Promise<void>((resolve) => {
      servers.push(createServer().listen(path, resolve));
    });
    await expect(mounting(join(folder, "tools"))).rejects.toThrow(/socket, pipe or device/);
    await expect(mounting(path)).rejects.toThrow(/socket, pipe or device/);
    renameSync(path, join(folder, "away"));
    execFileSync("mkfifo", [path]);
    await expect(mounting(join(folder, "tools"))).rejects.toThrow(/socket, pipe or device/);
  });

  it.each([
    ...["/", "/tmp", "/home/agent", "/workspace", "/proc/x", "/dev/shm", "/etc/ssl", "/usr/bin"],
    ...["/lib64", "/runtime/node", "/workspace/.git", "/workspace/a/.GIT/hooks", "/opt/../usr/x"],
    ...["relative", "/opt/x/", "/run/x"],
  ])("is never seen at %s", async (at) => {
    await expect(mounting(join(folder, "tools"), { at })).rejects.toThrow(/Nothing can be mounted/);
  });

  it("of the tree is none that git has, for the step's own counts", async () => {
    put("repo/vendor/x");
    expect((await mounting("vendor", { copy: true })).mounts).toMatchObject([
      { at: "/workspace/vendor", access: "copy" },
    ]);
    tracked.add("vendor");
    await expect(mounting("vendor")).rejects.toThrow(/git has it/);
  });

  it("stands at its place alone", async () => {
    const one = { path: join(folder, "tools"), at: "/opt/x" };
    await expect(resolved({ mounts: [one, one] })).rejects.toThrow(/the same place/);
  });

  it("is what it was when the run began, or no command runs", async () => {
    const tools = await mounting(join(folder, "tools"));
    await expect(requireUnchanged(tools)).resolves.toBeUndefined();
    const path = put("tools/bin/tool", "z");
    utimesSync(path, 1, 1);
    await expect(requireUnchanged(tools)).rejects.toThrow(/not what it was/);
  });
});

describe("a preset", () => {
  it("finds the node that the repository asks for, and libraries at any depth", async () => {
    put("repo/.nvmrc", "22.4\n");
    put("home/me/.nvm/versions/node/v22.4.1/bin/node");
    put("home/me/.nvm/versions/node/v22.10.0/bin/node");
    for (const at of ["node_modules/a", "packages/b/node_modules/c"]) put(`repo/${at}/index.js`);
    put("repo/node_modules/a/node_modules/d/index.js");
    const tools = await resolved({ presets: ["node"] });
    const node = join(machine.home, ".nvm/versions/node/v22.4.1");
    expect(tools.mounts.map(({ at }) => at)).toEqual([
      node,
      "/workspace/node_modules",
      "/workspace/packages/b/node_modules",
    ]);
    expect(tools.path).toEqual([`${node}/bin`, "/workspace/node_modules/.bin"]);
  });

  it("takes no version of a hostile file for a path", async () => {
    put("repo/.nvmrc", "../../../../.ssh\n");
    put("repo/.python-version", "../../.ssh\n");
    put("repo/rust-toolchain.toml", '[toolchain]\nchannel = "../../.ssh"\n');
    const tools = await resolved({ presets: ["node", "python", "rust"] });
    expect(JSON.stringify(tools.mounts)).not.toContain(".ssh");
  });

  it.each([
    ["/", "python"],
    ["home/me/.ssh", "python"],
  ])("takes no hostile virtual environment's word for an interpreter (%s)", async (at, preset) => {
    const base = at.startsWith("/") ? at : join(folder, at);
    put("repo/.venv/pyvenv.cfg", `home = ${base}/bin\nversion = 3.11.2\n`);
    if (!at.startsWith("/")) {
      put(`${at}/bin/python3`);
      put(`${at}/lib/python3.11/os.py`);
    }
    const tools = await resolved({ presets: [preset] });
    expect(tools.mounts.map(({ path }) => path)).toEqual(
      tools.mounts.map(() => join(folder, "repo/.venv")),
    );
  });

  it("finds cargo's crates and not its keys", async () => {
    put("home/me/.cargo/credentials.toml", "token");
    put("home/me/.cargo/registry/index");
    put("home/me/.rustup/settings.toml", 'default_toolchain = "stable-x86_64-unknown-linux-gnu"\n');
    put("home/me/.rustup/toolchains/stable-x86_64-unknown-linux-gnu/bin/cargo");
    const tools = await resolved({ presets: ["rust"] });
    expect(tools.mounts.map(({ at }) => at)).toEqual([
      join(machine.home, ".rustup/toolchains/stable-x86_64-unknown-linux-gnu"),
      "/home/agent/.cargo/registry",
    ]);
    expect(tools.env).toMatchObject({ CARGO_NET_OFFLINE: "true" });
  });

  it("finds what Go and Java have fetched, and not Maven's passwords", async () => {
    put("home/me/go/pkg/mod/cache/x");
    put("home/me/.m2/settings.xml", "password");
    put("home/me/.m2/repository/x");
    put("jdk/release", 'JAVA_VERSION="21.0.1"\n');
    put("sdk/VERSION", "go1.22.2\n");
    machine = {
      ...machine,
      environment: {
        ...machine.environment,
        JAVA_HOME: join(folder, "jdk"),
        GOROOT: join(folder, "sdk"),
      },
    };
    const { mounts, env } = await resolved({ presets: ["java", "go"] });
    const found = mounts.filter(({ path }) => path.startsWith(folder));
    expect(found.map(({ at, version }) => [at, version])).toEqual([
      [join(folder, "sdk"), "go1.22.2"],
      ["/home/agent/go/pkg/mod", null],
      [join(folder, "jdk"), "21.0.1"],
      ["/home/agent/.m2/repository", null],
    ]);
    expect(env).toMatchObject({ GOPROXY: "off", JAVA_HOME: join(folder, "jdk") });
  });

  it("says what it did not find, or may not show", async () => {
    put("repo/.nvmrc", "99\n");
    const { notes } = await resolved({ presets: ["node", "rust"] });
    expect(notes.join("\n")).toMatch(/asks for 99[\s\S]*rust: no toolchain/);
  });

  it("runs nothing of the user's, so a program on the PATH may be anything", async () => {
    put("bin/node", `#!/bin/sh\ntouch ${folder}/ran\n`);
    chmodSync(join(folder, "bin/node"), 0o755);
    const { mounts } = await resolved({ presets: ["node"] });
    expect(mounts.map(({ path }) => path)).not.toContain(join(folder, "ran"));
    expect(() => realpathSync(join(folder, "ran"))).toThrow();
  });
});

describe("a policy's digest", () => {
  it("is over presets and mounts, and is what it was where there are none", () => {
    const digests = [
      policyOf({}),
      policyOf({ presets: [], mounts: [] }),
      policyOf({ presets: ["node"] }),
      policyOf({ mounts: [{ path: "/opt/x/y" }] }),
      policyOf({ mounts: [{ path: "/opt/x/y", copy: true }] }),
    ].map(({ digest }) => digest);
    expect(digests[0]).toBe(digests[1]);
    expect(new Set(digests).size).toBe(4);
  });
});

describe("the home folder", () => {
  it("is the environment's, without links", () => {
    symlinkSync(machine.home, join(folder, "short"));
    expect(homeOf({ HOME: join(folder, "short") })).toBe(machine.home);
    expect(homeOf({ HOME: join(folder, "nowhere") })).toBe("");
  });
});
