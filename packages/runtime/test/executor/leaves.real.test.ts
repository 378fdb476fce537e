import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { execute, type Operation, requestOf, sh, write } from "./support/exec-world.ts";
import { TestRepository } from "./support/repository.ts";

const SHIPPED = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../../../examples/exec/policy.json"), "utf8"),
) as JsonObject;
const REFUSED = { code: "ERR_CHANGE_REFUSED" };

let repo: TestRepository;
beforeEach(() => {
  repo = new TestRepository();
});
afterEach(() => {
  repo.dispose();
});

let count = 0;
/** Run it, and hold that nothing of the user's changed. */
async function attempt(
  steps: readonly (readonly Operation[])[],
  options: { policy?: JsonObject } = {},
): Promise<{ code: string; reason: string }> {
  const before = repo.state();
  count += 1;
  const folder = join(repo.folder, `run-${count}`);
  const { code, reason } = await execute(repo, requestOf(steps), { folder, ...options });
  expect(repo.state()).toEqual(before);
  return { code, reason };
}

/** The four files that make a folder a repository, with a program that `git status` runs. */
function bareRepository(folder: string, ran: string): Operation[] {
  const config = `[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = ..\n\tfsmonitor = "touch ${ran}; false"\n`;
  return [
    write(`${folder}HEAD`, "ref: refs/heads/main\n"),
    write(`${folder}config`, config),
    write(`${folder}objects/x`),
    write(`${folder}refs/x`),
  ];
}

describe("a repository that a step would leave", () => {
  it("is refused under the shipped policy, and nothing of it runs", async () => {
    const ran = join(repo.folder, "ran");
    const operations = bareRepository("sovereign-example/", ran);
    expect(await attempt([operations], { policy: SHIPPED })).toMatchObject(REFUSED);
    mkdirSync(join(repo.root, "sovereign-example"));
    const env = { PATH: process.env["PATH"], HOME: repo.folder };
    execFileSync("git", ["status"], { cwd: join(repo.root, "sovereign-example"), env });
    expect(existsSync(ran)).toBe(false);
  });

  it.each([
    ["at the root of the tree", ""],
    ["deep down", "a/b/c/"],
  ])("is refused %s", async (_, folder) => {
    expect(await attempt([bareRepository(folder, "/tmp/ran")])).toMatchObject(REFUSED);
  });

  it("is refused in parts, over operations and steps", async () => {
    const [head, config, objects, refs] = bareRepository("d/", "/tmp/ran") as [
      Operation,
      Operation,
      Operation,
      Operation,
    ];
    expect(await attempt([[config, objects], [refs], [head]])).toMatchObject(REFUSED);
    expect(await attempt([[head, config], [refs], [objects]])).toMatchObject(REFUSED);
  });

  it("is refused where the user has a part of it", async () => {
    repo.write("d/HEAD", "ref: refs/heads/main\n");
    repo.commit("a head of the user's own");
    expect(await attempt([[write("d/objects/x")]])).toMatchObject(REFUSED);
    expect(await attempt([[sh("mkdir d/refs && echo x > d/refs/x")]])).toMatchObject(REFUSED);
    expect(await attempt([[write("d/commondir", "../.git\n")]])).toMatchObject(REFUSED);
  });

  it("is refused where a part of it lies in the user's work tree, untracked", async () => {
    repo.write(".gitignore", "objects/\n");
    repo.commit("build products");
    repo.write("d/objects/x", "a product\n");
    expect(await attempt([[write("d/HEAD", "ref: refs/heads/main\n")]])).toMatchObject(REFUSED);
  });

  it.each([
    ["a command", sh("mkdir -p d/objects d/refs; echo x | tee d/objects/x d/refs/x >d/HEAD")],
    ["a command, in other letters", sh("mkdir -p d/OBJECTS; echo x | tee d/OBJECTS/x >d/Head")],
    ["a command, with links", sh("mkdir d; ln -s ../src d/objects; ln -s refs/heads/x d/HEAD")],
    ["a command, by commondir", sh("mkdir d; echo 'ref: refs/x' > d/HEAD; echo . > d/commondir")],
    ["a command, of Mercurial", sh("mkdir .hg && echo '[hooks]' > .hg/hgrc")],
    ["a command, of repo", sh("mkdir -p .repo/repo && echo x > .repo/repo/main")],
    ["an operation, of Jujutsu", write("sub/.jj/repo/config.toml")],
    ["an operation, of Darcs", write("_darcs/prefs/defaults")],
  ])("is refused of %s", async (_, operation) => {
    expect(await attempt([[operation]])).toMatchObject(REFUSED);
  });

  it("is refused of patches", async () => {
    const made = (path: string): Operation => ({
      action: "patch_file",
      params: {
        path,
        patch: `--- /dev/null\n+++ b/${path}\n@@ -0,0 +1 @@\n+ref: refs/heads/main\n`,
      },
    });
    const steps = [[made("d/HEAD"), made("d/objects/x"), made("d/refs/x")]];
    expect(await attempt(steps)).toMatchObject(REFUSED);
  });

  it("is the user's own where nothing of it is touched", async () => {
    repo.git("init", "-q", "--bare", join(repo.root, "fixtures/one.git"));
    repo.write("fixtures/one.git/refs/keep", "");
    repo.write("fixtures/one.git/objects/keep", "");
    repo.git("add", "-A", "--", ":/README.md");
    execFileSync("git", ["-C", repo.root, "add", "-A"]);
    repo.commit("a fixture");
    expect((await attempt([[write("fixtures/one.git/config")]])).code).toBe("ERR_CHANGE_REFUSED");
    const { code } = await execute(repo, requestOf([[write("fixtures/readme")]]), {
      folder: join(repo.folder, "good"),
    });
    expect(code).toBe("none");
  });
});

describe("what developers' tools run", () => {
  it("takes leave by name, for operations and commands", async () => {
    for (const path of [".vscode/tasks.json", ".envrc", "hooks/pre-commit", "AGENTS.md"]) {
      const put = `mkdir -p "$(dirname ${path})" && echo x > ${path}`;
      for (const operation of [write(path), sh(put)]) {
        const end = await attempt([[operation]]);
        expect(end).toMatchObject({ code: "ERR_CI_FILE_REFUSED" });
        expect(end.reason).toContain("host_run_paths");
      }
    }
  });

  it("takes it also for the file to which a link of that name leads", async () => {
    repo.write("tools/editor/tasks.json", "{}\n");
    repo.link(".vscode", "tools/editor");
    repo.commit("a link of the user's own");
    const change = write("tools/editor/tasks.json", "{ }\n");
    const end = await attempt([[change]]);
    expect(end).toMatchObject({ code: "ERR_CI_FILE_REFUSED" });
    const policy = {
      allowlist: {
        file_operations: ["write_file"],
        paths: ["**"],
        host_run_paths: ["tools/editor/**"],
      },
    };
    const folder = join(repo.folder, "good");
    const { code } = await execute(repo, requestOf([[change]]), { folder, policy });
    expect(code).toBe("none");
  });
});

describe("a patch", () => {
  const patch = (path: string, text: string): Operation => ({
    action: "patch_file",
    params: { path, patch: text },
  });
  const header = (from: string, to: string, ...lines: string[]): string =>
    [`diff --git a/${from} b/${to}`, "similarity index 100%", ...lines, ""].join("\n");

  it("cannot bring out what another path holds", async () => {
    repo.write("secret.pem", "the key\n");
    repo.commit("a secret");
    const text = header("secret.pem", "out.txt", "copy from secret.pem", "copy to out.txt");
    const policy = { deny_paths: ["**/*.pem"] };
    const end = await attempt([[patch("out.txt", text)]], { policy });
    expect(end).toMatchObject(REFUSED);
    expect(end.reason).toContain("copies or renames");
  });

  it("cannot move another path away", async () => {
    const text = header("README.md", "out.md", "rename from README.md", "rename to out.md");
    expect(await attempt([[patch("out.md", text), sh("test -e README.md")]])).toMatchObject(
      REFUSED,
    );
  });

  it("cannot make a submodule", async () => {
    const id = "1".repeat(40);
    const text = `diff --git a/sub b/sub\nnew file mode 160000\nindex ${"0".repeat(40)}..${id}\n--- /dev/null\n+++ b/sub\n@@ -0,0 +1 @@\n+Subproject commit ${id}\n`;
    expect(await attempt([[patch("sub", text)]])).toMatchObject(REFUSED);
  });

  it("changes, makes, links, runs and removes its own file", async () => {
    const change = "--- a/docs/guide.md\n+++ b/docs/guide.md\n@@ -1 +1 @@\n-guide\n+book\n";
    const made = "--- /dev/null\n+++ b/new/file\n@@ -0,0 +1 @@\n+x\n";
    const mode = "diff --git a/README.md b/README.md\nold mode 100644\nnew mode 100755\n";
    const gone =
      "diff --git a/src/util.ts b/src/util.ts\ndeleted file mode 100644\n--- a/src/util.ts\n+++ /dev/null\n@@ -1 +0,0 @@\n-export const util = 2;\n";
    const operations = [
      patch("docs/guide.md", change),
      patch("new/file", made),
      patch("README.md", mode),
      patch("src/util.ts", gone),
    ];
    const { code } = await execute(repo, requestOf([operations]), {
      folder: join(repo.folder, "good"),
    });
    expect(code).toBe("none");
    expect(repo.git("diff", "--summary", "--name-status", "HEAD~1", "HEAD").split("\n")).toEqual(
      expect.arrayContaining(["M\tREADME.md", "M\tdocs/guide.md", "A\tnew/file", "D\tsrc/util.ts"]),
    );
    expect(repo.git("ls-files", "-s", "README.md")).toMatch(/^100755/);
    expect(repo.read("docs/guide.md")).toBe("book\n");
  });
});

describe("names", () => {
  it.each(["a\u009bb", "a\u202egnp.exe", "zero\u200bwidth", "soft\u00adhyphen", "GITHUB~1/x"])(
    "of the kind %j are refused, and shown as they are",
    async (path) => {
      const end = await attempt([[write(path)]]);
      expect(["ERR_POLICY_DENIED", "ERR_PATH_REFUSED"]).toContain(end.code);
      expect(end.reason).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    },
  );

  it("that no path can hold are refused in words", async () => {
    const name = "n".repeat(50);
    const script = `for (1..90) { mkdir "${name}"; chdir "${name}" } open(F, ">", "file") or die`;
    const deep = sh(`perl -e '${script}'`);
    expect(await attempt([[deep]])).toMatchObject(REFUSED);
    const end = await attempt([[write(`${"n".repeat(256)}/x`)]]);
    expect(end.code).toBe("ERR_POLICY_DENIED");
    expect(end.reason).toContain("255 bytes");
  });

  it("in a submodule's folder are refused, of operations and commands", async () => {
    const other = new TestRepository();
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", other.root, "sub");
    repo.commit("a submodule");
    for (const operation of [
      write("sub/file"),
      sh("echo x > sub/file"),
      { action: "mkdir", params: { path: "sub/folder" } },
    ]) {
      expect(await attempt([[operation]])).toMatchObject(REFUSED);
    }
    other.dispose();
  });

  it("of the repository's own folder may be odd", async () => {
    const odd = join(repo.folder, "line\nend");
    mkdirSync(odd);
    execFileSync("git", ["clone", "-q", repo.root, join(odd, "repo")]);
    const twin = Object.assign(Object.create(repo) as TestRepository, { root: join(odd, "repo") });
    await expect(execute(twin, requestOf([[write("x")]]))).rejects.toMatchObject({
      code: "ERR_REPOSITORY_REFUSED",
    });
  });
});
