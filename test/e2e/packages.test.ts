import { execFile, execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { canonicalBytes, type JsonValue } from "@sovereign/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EvidenceWorld } from "../../packages/runtime/test/support/evidence.ts";

const NAMES = ["core", "verify", "runtime", "client"] as const;

interface End {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** What npm and vitest put into our environment, and what would lead to another installation. */
const OURS = /^(npm_(?!config_(registry|cache)$)|VITEST|NODE_OPTIONS|SOVEREIGN_|DATABASE_URL)/i;

/** Programs run as a user would. */
function run(program: string, args: readonly string[], cwd: string): Promise<End> {
  const others = Object.entries(process.env).filter(([name]) => !OURS.test(name));
  const env = {
    ...Object.fromEntries(others),
    SOVEREIGN_HOME: join(folder, "home"),
    NO_COLOR: "1",
  };
  return new Promise((end) => {
    execFile(program, args, { cwd, env }, (error, out, err) => {
      end({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
  });
}

/** A program of npm's, the first on the PATH. */
const npm = (args: readonly string[], cwd: string): Promise<End> => run("npm", args, cwd);

let folder: string;
let app: string;
/** Name → the files of its tarball, without npm's leading `package/`. */
const packed = new Map<string, { tarball: string; files: string[] }>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-packages-"));
  app = join(folder, "app");
  mkdirSync(app);
  const built = await npm(["run", "build"], resolve("."));
  expect(built).toMatchObject({ code: 0 });
  for (const name of NAMES) {
    const args = ["pack", "--json", "--pack-destination", folder];
    const { out } = await npm(args, resolve("dist", name));
    const [pack] = JSON.parse(out) as [{ filename: string; files: { path: string }[] }];
    const files = pack.files.map(({ path }) => path);
    packed.set(name, { tarball: join(folder, pack.filename), files });
  }
  writeFileSync(join(app, "package.json"), '{ "private": true, "type": "module" }\n');
  const tarballs = [...packed.values()].map(({ tarball }) => tarball);
  const installed = await npm(
    ["install", "--prefer-offline", "--ignore-scripts", ...tarballs],
    app,
  );
  expect(installed).toMatchObject({ code: 0 });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const installedBin = (name: string): string => join(app, "node_modules", ".bin", name);

describe.each(NAMES)("the package %s", (name) => {
  it("is in order by publint's strict rules", async () => {
    const bytes = new Uint8Array(readFileSync(packed.get(name)!.tarball));
    const { messages, pkg } = await publint({ strict: true, pack: { tarball: bytes.buffer } });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });

  it("holds what was built, and neither sources, tests nor maps", () => {
    const { files } = packed.get(name)!;
    const odd = files.filter(
      (path) =>
        !/^(dist\/.+\.(js|d\.ts|sql)|bin\/[a-z-]+(\.js|\.json)?|page\/.+\.html|man\/sovereign\.1|completions\/.+)$/.test(
          path,
        ) && !["LICENSE", "README.md", "package.json"].includes(path),
    );
    expect(odd).toEqual([]);
    expect(files).toEqual(expect.arrayContaining(["LICENSE", "README.md", "dist/index.js"]));
    const pointing = files
      .filter((path) => path.endsWith(".js"))
      .filter((path) =>
        readFileSync(resolve("dist", name, path), "utf8").includes("sourceMapping"),
      );
    expect(pointing).toEqual([]);
  });
});

describe("packages that are installed for everybody", () => {
  /** Root may read and write everything: an ordinary user may not. */
  const ordinary = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};

  it("bring the manual page and completion, and run as an ordinary user", () => {
    const prefix = join(folder, "global");
    const tarballs = NAMES.map((name) => packed.get(name)!.tarball);
    const line = ["install", "-g", "--prefix", prefix, "--prefer-offline", "--ignore-scripts"];
    execFileSync("npm", [...line, ...tarballs], { stdio: "ignore" });
    chmodSync(folder, 0o755);
    const cwd = mkdtempSync(join(tmpdir(), "sov-person-"));
    if (ordinary.uid !== undefined) chownSync(cwd, ordinary.uid, ordinary.gid);
    const env = { PATH: process.env["PATH"], HOME: cwd };
    const type = (...words: string[]): string =>
      execFileSync(join(prefix, "bin/sovereign"), words, {
        ...ordinary,
        cwd,
        env,
        encoding: "utf8",
      });
    const place = join(prefix, "lib/node_modules/@sovereign/runtime");
    for (const [shell, file] of [
      ["bash", "sovereign.bash"],
      ["zsh", "_sovereign"],
      ["fish", "sovereign.fish"],
    ] as const) {
      expect(readFileSync(join(place, "completions", file), "utf8")).toBe(
        type("completion", shell),
      );
    }
    const page = readFileSync(join(prefix, "share/man/man1/sovereign.1"), "utf8");
    expect(page).toMatch(/^\.TH SOVEREIGN 1 [^]*\n\.SS sovereign scram activate\n/);
    expect(() => type("uninstall", "--yes")).toThrow(/ERR_UNINSTALL_REFUSED/);
    expect(readdirSync(cwd)).toEqual([]);
    rmSync(cwd, { recursive: true });
  });
});

describe("the installed packages", () => {
  it("say their version and what the sandbox can do", async () => {
    const manifest = readFileSync(resolve("packages/runtime/package.json"), "utf8");
    const { version } = JSON.parse(manifest) as { version: string };
    expect(await run(installedBin("sovereign"), ["--version"], app)).toMatchObject({
      code: 0,
      out: `${version}\n`,
    });
    expect((await run(installedBin("sovereign-verify"), ["--version"], app)).out).toBe(
      `${version}\n`,
    );
    expect(await run(installedBin("scram"), ["--help"], app)).toMatchObject({ code: 0, err: "" });
    const doctor = await run(installedBin("sovereign"), ["doctor"], app);
    expect(doctor).toMatchObject({ code: 0, err: "" });
    expect(doctor.out).toMatch(/^sandbox level: G\d\n/);
  });

  it("bring a database and its migrations", async () => {
    const status = await run(installedBin("sovereign"), ["status"], app);
    expect(status).toMatchObject({ code: 0 });
    expect(status.out).toMatch(/kill switch: +ARMED/);
  });

  it("verify a bundle, and refuse one with a changed byte", async () => {
    const world = await EvidenceWorld.create();
    const bundle = await world.bundle();
    const trust = join(folder, "trust-root.json");
    writeFileSync(trust, world.trustRoot());
    world.dispose();
    const good = join(folder, "good.json");
    writeFileSync(good, canonicalBytes(bundle as unknown as JsonValue));
    bundle.entries[2]!.entry.data = { ...bundle.entries[2]!.entry.data, output: "better" };
    const forged = join(folder, "forged.json");
    writeFileSync(forged, canonicalBytes(bundle as unknown as JsonValue));
    const verify = (file: string): Promise<End> =>
      run(installedBin("sovereign-verify"), [file, "--trust", trust, "--quiet"], app);
    expect(await verify(good)).toEqual({ code: 0, out: "VALID\n", err: "" });
    expect(await verify(forged)).toEqual({ code: 4, out: "INVALID\n", err: "" });
  });

  it("have types that a strict program compiles against", async () => {
    const program = `
      import { canonicalize } from "@sovereign/core";
      import { openInstallation, PolicyEngine } from "@sovereign/runtime";
      import { verifyBundle } from "@sovereign/verify";
      import { main } from "@sovereign/verify/cli";
      export const text: string = canonicalize({ a: 1 });
      export { main, openInstallation, PolicyEngine, verifyBundle };
      // @ts-expect-error: a verdict is one of four words
      export const wrong: 1 = verifyBundle(new Uint8Array(), { trustRoot: null }).verdict;
    `;
    writeFileSync(join(app, "program.ts"), program);
    const tsc = resolve("node_modules/typescript/bin/tsc");
    const types = dirname(resolve("node_modules/@types/node"));
    const args = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2024"];
    const more = ["--typeRoots", types, "--types", "node", "program.ts"];
    const end = await run(process.execPath, [tsc, ...args, ...more], app);
    expect(end).toMatchObject({ code: 0, out: "" });
  });
});
