import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeRequest } from "../../src/services/exec/made-request.ts";
import { systemClock, systemEntropy } from "../../src/system/index.ts";
import { execute, type Operation, requestOf, write } from "./support/exec-world.ts";
import { TestRepository } from "./support/repository.ts";

/** One for all: what is refused leaves it as it was, and what is not comes last. */
let repo: TestRepository;
let runs = 0;
beforeAll(() => {
  repo = new TestRepository();
  repo.write("mine/x", "mine\n");
  repo.link("docs/link", "guide.md");
  repo.commit("a file that no step may touch, and a link");
});
afterAll(() => {
  repo.dispose();
});

const POLICY = {
  allowlist: {
    file_operations: ["write_file", "patch_file", "edit_file", "rename_file"],
    paths: ["src/**", "docs/**", "README.md"],
    commands: [],
  },
};

async function carryOut(request: string): ReturnType<typeof execute> {
  runs += 1;
  return execute(repo, request, { folder: join(repo.folder, `run-${runs}`), policy: POLICY });
}

function requestFor(patch: string, message: string | null = null): string {
  const file = join(repo.folder, "change.patch");
  writeFileSync(file, patch);
  const words = { message, author: null, coAuthors: [] };
  const making = { clock: systemClock, entropy: systemEntropy };
  const request = makeRequest({ kind: "patch", file, ...words }, making);
  const value = JSON.parse(Buffer.from(request).toString("utf8")) as object;
  return JSON.stringify({ ...value, role: "trainer" });
}

const adding = (path: string, mode = "100644", line = "x"): string =>
  [
    `diff --git a/${path} b/${path}`,
    `new file mode ${mode}`,
    "index 0000000..1111111",
    "--- /dev/null",
    `+++ b/${path}`,
    "@@ -0,0 +1 @@",
    `+${line}`,
    "",
  ].join("\n");
const NO_END = "\\ No newline at end of file\n";
const rename = (from: string, to: string): string =>
  `diff --git a/${from} b/${to}\nsimilarity index 100%\nrename from ${from}\nrename to ${to}\n`;
const gone = (path: string, text: string): string =>
  `diff --git a/${path} b/${path}\ndeleted file mode 100644\nindex 1111111..0000000\n--- a/${path}\n+++ /dev/null\n@@ -1 +0,0 @@\n-${text}\n`;

const FITS = "--- a/docs/guide.md\n+++ b/docs/guide.md\n@@ -1 +1 @@\n-guide\n+way\n";

describe("a diff", () => {
  it.each<[string, string, string]>([
    ["outside", adding("../x"), "ERR_POLICY_DENIED"],
    ["of git's own", adding("src/.git/hooks/pre-commit"), "ERR_POLICY_DENIED"],
    ["of attributes", adding("src/.gitattributes", "100644", "* filter=x"), "ERR_CHANGE_REFUSED"],
    ["that tools run", adding("src/.vscode/tasks.json"), "ERR_CI_FILE_REFUSED"],
    ["of a link out", adding("src/l", "120000", "/etc/passwd") + NO_END, "ERR_CHANGE_REFUSED"],
    [
      "that does not fit",
      "--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-no\n+x\n",
      "ERR_CHANGE_MISFIT",
    ],
    ["that may not go", gone("README.md", "# Hello"), "ERR_CHANGE_REFUSED"],
    ["renamed from where nothing may", rename("mine/x", "src/x"), "ERR_POLICY_DENIED"],
    ["renamed to where nothing may", rename("README.md", "mine/y"), "ERR_POLICY_DENIED"],
    ["renamed to what tools run", rename("README.md", "src/.envrc"), "ERR_CI_FILE_REFUSED"],
    ["renamed from nowhere", rename("src/none", "src/y"), "ERR_PATH_REFUSED"],
  ])("of a file %s ends as it should", async (_, patch, expected) => {
    const before = repo.state();
    const { code, reason } = await carryOut(requestFor(patch));
    expect({ code, reason }).toMatchObject({ code: expected });
    expect(repo.state()).toEqual(before);
  });
});

describe("rename_file and edit_file", () => {
  const operation = (action: string, params: Operation["params"]): Operation => ({
    action,
    params,
  });

  it.each<[string, Operation]>([
    [
      "a place that is not there",
      operation("edit_file", { path: "README.md", edits: [{ search: "# Helo", replace: "" }] }),
    ],
    [
      "a link in the place of a file",
      operation("rename_file", { from: "docs/link", path: "docs/x" }),
    ],
  ])("refuse %s", async (_, one) => {
    const before = repo.state();
    const { code } = await carryOut(requestOf([[one]]));
    expect(["ERR_CHANGE_MISFIT", "ERR_PATH_REFUSED"]).toContain(code);
    expect(repo.state()).toEqual(before);
  });

  it("move a file with its mode and bytes, and change the one place that is named", async () => {
    const request = requestOf([
      [
        write("src/one.txt", "a\nb\nc\n"),
        operation("edit_file", { path: "src/one.txt", edits: [{ search: "b\n", replace: "B\n" }] }),
        operation("rename_file", { from: "src/one.txt", path: "docs/deep/two.txt" }),
      ],
    ]);
    expect(await carryOut(request)).toMatchObject({ code: "none" });
    expect(repo.read("docs/deep/two.txt")).toBe("a\nB\nc\n");
    expect(repo.git("ls-tree", "-r", "--name-only", "HEAD", "src")).not.toContain("one.txt");
  });

  it("of a diff that fits has the words that were given as its commit", async () => {
    expect(await carryOut(requestFor(FITS, "From a pipe"))).toMatchObject({ code: "none" });
    expect(repo.git("log", "-1", "--format=%s")).toBe("From a pipe");
    expect(repo.read("docs/guide.md")).toBe("way\n");
  });
});
