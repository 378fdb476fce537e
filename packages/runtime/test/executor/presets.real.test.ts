import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { JsonObject, Toolset } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { inspectRepository, readHead } from "../../src/executor/index.ts";
import { parsePolicy } from "../../src/policy/index.ts";
import { findTools } from "../../src/services/exec/find-tools.ts";
import { type End, execute, type Operation, requestOf, sh } from "./support/exec-world.ts";
import { TestRepository } from "./support/repository.ts";

const environment = process.env;
const run = (...argv: string[]): Operation => ({ action: "test", params: { argv } });
const TEST_MS = 180_000;

/** A project whose dependencies lie where git ignores them, as they do on a developer's machine. */
class Project {
  readonly repository: TestRepository;

  constructor(files: Readonly<Record<string, string>>) {
    this.repository = new TestRepository(files);
  }

  get root(): string {
    return this.repository.root;
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  async tools(wanted: JsonObject): Promise<Toolset | null> {
    const policy = { policy_id: "tools", schema_version: "1.0.0", ...wanted };
    const compiled = parsePolicy(Buffer.from(JSON.stringify(policy)), "policy.json");
    const user = await inspectRepository(this.root);
    const machine = { environment, dataFolder: join(this.repository.folder, "data") };
    return findTools(compiled, user, await readHead(user), machine);
  }

  async run(wanted: JsonObject, backend: string, ...operations: Operation[]): Promise<End> {
    const executables = [
      ...new Set(operations.map(({ params }) => (params["argv"] as string[])[0])),
    ];
    return execute(this.repository, requestOf([operations]), {
      toolset: (await this.tools(wanted)) as Toolset,
      policy: {
        ...wanted,
        allowlist: {
          commands: executables.map((executable, at) => ({
            id: `c${at}`,
            executable: executable ?? "",
            allowed_args: ["**"],
          })),
        },
        limits: {
          max_files: 1,
          max_file_size_mb: 64,
          timeout_seconds: 120,
          sandbox_backend: backend,
        },
      },
    });
  }

  logOf(end: End): string {
    const name = "03_executor/logs/step_01.op_1.log";
    return existsSync(join(end.artifacts.folder, name))
      ? readFileSync(join(end.artifacts.folder, name), "utf8")
      : end.reason;
  }
}

describe.each(["bubblewrap", "container"])("what a policy mounts, in %s", (backend) => {
  it("is read-only, or a copy that is thrown away", async () => {
    const project = new Project({ ".gitignore": "target\nvendor\n", file: "x\n" });
    project.write("target/old", "old");
    project.write("vendor/lib", "lib");
    const mounts = [{ path: "target", copy: true }, { path: "vendor" }];
    const script = "cat target/old vendor/lib && echo new > target/new && rm target/old";
    const end = await project.run({ mounts }, backend, sh(`${script}; ! echo x > vendor/lib`));
    expect(end.reason).toBe("");
    expect(project.logOf(end)).toMatch(/oldlib[\s\S]*Read-only/);
    expect(readdirSync(join(project.root, "target"))).toEqual(["old"]);
    expect(readFileSync(join(project.root, "vendor/lib"), "utf8")).toBe("lib");
    expect(end.run.done.steps).toEqual([]);
    expect(end.run.done.unchanged[0]?.tree).toBe(end.head.tree);
  });

  it("lies where it says, whatever a command puts on the way", async () => {
    const project = new Project({ ".gitignore": "packages/b\naway\n", "packages/a": "x\n" });
    project.write("packages/b/node_modules/x/index.js", "");
    const mounts = [{ path: "packages/b/node_modules" }];
    const swap = sh("mv packages/b away && ln -s /tmp packages/b");
    const end = await project.run({ mounts }, backend, swap, sh("true"));
    expect(end.code).toBe("ERR_MOUNT_REFUSED");
    expect(end.reason).toMatch(/plain folder/);
  });

  it("counts for what a command may write", async () => {
    const project = new Project({ ".gitignore": "target\n", file: "x\n" });
    project.write("target/old", "old");
    const fill = sh("for i in 1 2 3 4 5 6 7 8 9; do head -c 40000000 /dev/zero > target/$i; done");
    const end = await project.run({ mounts: [{ path: "target", copy: true }] }, backend, fill);
    expect(end.code).toBe("ERR_CHANGE_TOTAL");
  });
});

/** A toolchain that this machine has: what is big is not installed for a test. */
function has(...argv: [string, ...string[]]): boolean {
  try {
    execFileSync(argv[0], argv.slice(1), { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function nodeProject(): Project {
  const project = new Project({
    ".gitignore": "node_modules\n",
    "package.json": JSON.stringify({
      private: true,
      workspaces: ["packages/a"],
      scripts: { test: "node --test packages/a/a.test.js" },
    }),
    "packages/a/package.json": JSON.stringify({ name: "a", type: "module" }),
    "packages/a/a.test.js":
      "import test from 'node:test';import {one} from 'inner';import {two} from 'outer';\n" +
      "test('sums', (t) => t.assert.equal(one + two, 3));\n",
  });
  for (const [folder, name, text] of [
    ["node_modules", "outer", "export const two = 2;"],
    ["packages/a/node_modules", "inner", "export const one = 1;"],
  ] as const) {
    const described = JSON.stringify({ name, type: "module", main: "x.js" });
    project.write(`${folder}/${name}/package.json`, described);
    project.write(`${folder}/${name}/x.js`, text);
  }
  return project;
}

describe("a project's own tests", () => {
  it.each(["bubblewrap", "container"])(
    "run with node_modules at any depth, in %s",
    async (backend) => {
      const project = nodeProject();
      const end = await project.run({ presets: ["node"] }, backend, run("npm", "test"));
      expect(end.reason).toBe("");
      expect(project.logOf(end)).toMatch(/pass 1/);
    },
    TEST_MS,
  );

  it(
    "run with the packages of a virtual environment, and with scripts that name it",
    async () => {
      const project = new Project({
        ".gitignore": ".venv\n",
        "test_sum.py":
          "import unittest, helper\nclass T(unittest.TestCase):\n" +
          "  def test_sum(self): self.assertEqual(helper.two() + 1, 3)\n",
      });
      execFileSync("python3", ["-m", "venv", "--without-pip", ".venv"], { cwd: project.root });
      const python = join(project.root, ".venv/bin/python");
      const ask = "import sysconfig; print(sysconfig.get_path('purelib'), end='')";
      const lib = execFileSync(python, ["-c", ask], { encoding: "utf8" });
      writeFileSync(join(lib, "helper.py"), "def two(): return 2\n");
      // As pip writes it: the interpreter by the path at which the environment was made.
      const script = `#!${python}\nimport unittest\nunittest.main(module=None)\n`;
      writeFileSync(join(project.root, ".venv/bin/check"), script, { mode: 0o755 });
      const test = run("check", "discover", "-v");
      const end = await project.run({ presets: ["python"] }, "bubblewrap", test);
      expect(end.reason).toBe("");
      expect(project.logOf(end)).toMatch(/test_sum.*ok[\s\S]*OK/);
    },
    TEST_MS,
  );
});

const BIG: readonly [string, boolean, Readonly<Record<string, string>>, Operation, RegExp][] = [
  [
    "rust",
    has("cargo", "--version"),
    {
      ".gitignore": "target\nCargo.lock\n",
      "Cargo.toml": '[package]\nname = "sum"\nversion = "0.1.0"\nedition = "2021"\n',
      "src/lib.rs": "#[test]\nfn sums() { assert_eq!(1 + 2, 3); }\n",
    },
    run("cargo", "test", "--offline"),
    /test sums \.\.\. ok/,
  ],
  [
    "go",
    has("go", "version"),
    {
      "go.mod": "module sum\n\ngo 1.18\n",
      "sum_test.go":
        'package sum\nimport "testing"\nfunc TestSum(t *testing.T) { if 1+2 != 3 { t.Fail() } }\n',
    },
    run("go", "test", "-v", "./..."),
    /PASS: TestSum/,
  ],
  [
    "java",
    has("javac", "-version"),
    {
      "Sum.java":
        'class Sum { public static void main(String[] a) { if (1 + 2 != 3) throw new Error(); System.out.println("sums"); } }\n',
    },
    run("java", "-ea", "Sum.java"),
    /sums/,
  ],
];

describe.each(BIG.filter(([, isHere]) => isHere))(
  "where this machine has %s",
  (name, _, files, test, said) => {
    it(
      "its tests run with the toolchain of the user",
      async () => {
        const project = new Project(files);
        const end = await project.run({ presets: [name] }, "bubblewrap", test);
        expect(end.reason).toBe("");
        expect(project.logOf(end)).toMatch(said);
      },
      TEST_MS,
    );
  },
);
