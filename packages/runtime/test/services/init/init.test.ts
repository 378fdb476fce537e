import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { parsePolicy, PolicyEngine } from "../../../src/policy/index.ts";
import { initServices } from "../../../src/services/init/init-services.ts";

const CLI = join(import.meta.dirname, "../../../bin/sovereign.js");
const home = join(mkdtempSync(join(tmpdir(), "sov-init-home-")), "data");
const { initRepository } = initServices(home);
const WRITE = { dryRun: false, force: false };
let root: string;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "sov-init-")));
  mkdirSync(join(root, ".git"));
});
const put = (name: string, text: string): void => {
  writeFileSync(join(root, name), text);
};
const policy = (): string => join(root, ".sovereign/policy.yaml");
const allows = (...argv: string[]): boolean => {
  const engine = new PolicyEngine(parsePolicy(readFileSync(policy()), policy()));
  const [resource = "", ...rest] = argv;
  const action = { type: "command.run", resource, params: { argv: rest, cwd: "", kind: "test" } };
  const decision = engine.decide(action, {
    ...{ tenant_id: "a", run_id: `run_${"a".repeat(20)}`, step_id: "s", attempt: 1, role: "r" },
    ...{ mode: "sovereign", config_digest: "0".repeat(64), policy_digest: engine.policyDigest },
  });
  return decision.effect === "allow" && !decision.observed;
};

describe("a repository's first policy", () => {
  it.each([
    [
      ["package.json"],
      '{"scripts":{"test":"x","lint":"y","postinstall":"z"}}',
      ["npm", "run", "test"],
    ],
    [["pyproject.toml"], "[tool.ruff]\n", ["pytest", "-q", "tests/test_a.py"]],
    [["Cargo.toml"], "[package]\n", ["cargo", "test"]],
    [["go.mod"], "module x\n", ["go", "test", "./..."]],
    [["pom.xml"], "<project/>", ["mvn", "-o", "test"]],
    [["build.gradle"], "", ["gradle", "--offline", "test"]],
    [["Makefile"], "test:\n\ttrue\n", ["make", "test"]],
  ])("allows the tests of %s", async (files, text, argv) => {
    for (const file of files) put(file, text);
    const { written, commands } = await initRepository(root, WRITE);
    expect(written).toBe(true);
    expect(commands.length).toBeGreaterThan(0);
    expect(allows(...argv)).toBe(true);
    expect(allows("npm", "run", "postinstall")).toBe(false);
    expect(allows("rm", "-rf", ".")).toBe(false);
  });

  it("is valid where nothing is found, observes, and denies what is said", async () => {
    const { text } = await initRepository(root, WRITE);
    const compiled = parsePolicy(readFileSync(policy()), policy());
    expect(compiled.mode).toBe("observe");
    expect(compiled.warnings).toEqual([]);
    expect(readFileSync(policy(), "utf8")).toBe(text);
  });

  it("takes nothing of hostile files but words that we know", async () => {
    const names = ["test\n  - evil", "lint", '"] }', "../x", "__proto__", "constructor"];
    const scripts = Object.fromEntries(names.map((name) => [name, "touch ran"]));
    put("package.json", JSON.stringify({ scripts }));
    put("Makefile", "test : evil\nx:=$(shell touch ran)\n");
    const { commands, text } = await initRepository(root, WRITE);
    expect(commands.map(({ args }) => args)).toContainEqual(["run", "lint"]);
    expect(text).not.toMatch(/evil|proto|\.\.\/x/);
    expect(existsSync(join(root, "ran"))).toBe(false);
  });

  it("waits for no pipe, follows no link, and reads no huge file", async () => {
    execFileSync("mkfifo", [join(root, "package.json")]);
    symlinkSync("/etc/passwd", join(root, "pyproject.toml"));
    put("Makefile", "test:\n");
    truncateSync(join(root, "Makefile"), 8 * 1024 ** 3);
    expect((await initRepository(root, WRITE)).found).toEqual([]);
  });

  it("never overwrites one, unless it is told to", async () => {
    await initRepository(root, WRITE);
    writeFileSync(policy(), "mine");
    await expect(initRepository(root, WRITE)).rejects.toMatchObject({ code: "ERR_POLICY_EXISTS" });
    expect(readFileSync(policy(), "utf8")).toBe("mine");
    await initRepository(root, { ...WRITE, force: true });
    expect(readFileSync(policy(), "utf8")).toMatch(/^# What agents/);
  });

  it.each(["folder", "file"])(
    "is written through no link of the repository's (%s)",
    async (kind) => {
      const target = mkdtempSync(join(tmpdir(), "sov-init-target-"));
      if (kind === "folder") symlinkSync(target, join(root, ".sovereign"));
      else {
        mkdirSync(join(root, ".sovereign"));
        symlinkSync(join(target, "policy.yaml"), policy());
      }
      const forced = initRepository(root, { ...WRITE, force: true });
      await expect(forced).rejects.toMatchObject({ code: "ERR_POLICY_EXISTS" });
      expect(existsSync(join(target, "policy.yaml"))).toBe(false);
    },
  );

  it("is a repository's alone", async () => {
    const bare = mkdtempSync(join(tmpdir(), "sov-init-none-"));
    await expect(initRepository(bare, WRITE)).rejects.toThrow(/git init/);
  });
});

describe("sovereign init", () => {
  const sovereign = (...words: string[]) =>
    spawnSync(process.execPath, [CLI, "init", ...words], {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, SOVEREIGN_HOME: home },
    });

  it("prints and writes nothing with --dry-run, then writes, then refuses", () => {
    put("package.json", '{"scripts":{"test":"x"}}');
    const dry = sovereign("--dry-run");
    expect(dry.status).toBe(0);
    expect(dry.stdout).toMatch(/mode: observe/);
    expect(existsSync(join(root, ".sovereign"))).toBe(false);
    const wrote = sovereign("--json");
    expect(wrote.stdout).toContain('"written":true');
    expect(lstatSync(policy()).mode & 0o777).toBe(0o644);
    const again = sovereign();
    expect(again.status).toBe(2);
    expect(again.stderr).toMatch(/--force/);
  });
});
