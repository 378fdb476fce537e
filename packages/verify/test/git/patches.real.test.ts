import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openGitRepository, parseGitCommit, verifyPatch } from "../../src/git/index.ts";
import { FORMAT_PATCH, PlainRepository } from "../support/repository.ts";

let repo: PlainRepository;
beforeEach(() => {
  repo = new PlainRepository();
  repo.write("kept", "kept\n");
  repo.commit("base");
});
afterEach(() => {
  repo.dispose();
});

/** Hold a patch against the last commit; the number of files. */
function verify(patch: Uint8Array, on: PlainRepository = repo): number {
  const { objects } = openGitRepository(on.root);
  const commit = on.git("rev-parse", "HEAD");
  const { tree, parents } = parseGitCommit(objects.read(commit, "commit"));
  const parent = parseGitCommit(objects.read(parents[0] ?? "", "commit"));
  return verifyPatch(objects, patch, { commit, before: parent.tree, after: tree }).size;
}

const lastPatch = (on: PlainRepository = repo): Buffer => on.bytes([...FORMAT_PATCH, "HEAD"]);

const LINES = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\neleven\n";
const BINARY = Buffer.from(Array.from({ length: 5000 }, (_, at) => (at * at) % 251));

describe("a patch that git made leads from the parent's tree to the commit's", () => {
  it.each<[string, () => void, () => void, number]>([
    ["nothing", () => undefined, () => undefined, 0],
    [
      "a file that is new",
      () => undefined,
      () => {
        repo.write("a/b/c", LINES);
      },
      1,
    ],
    [
      "one that is empty",
      () => undefined,
      () => {
        repo.write("empty", "");
      },
      1,
    ],
    [
      "one that goes",
      () => {
        repo.write("a", LINES);
      },
      () => {
        repo.remove("a");
      },
      1,
    ],
    [
      "an empty one that goes",
      () => {
        repo.write("a", "");
      },
      () => {
        repo.remove("a");
      },
      1,
    ],
    [
      "two hunks",
      () => {
        repo.write("a", LINES.repeat(3));
      },
      () => {
        repo.write("a", `zero\n${LINES.repeat(2)}${LINES.replace("ten\n", "")}`);
      },
      1,
    ],
    [
      "a line end less",
      () => {
        repo.write("a", LINES);
      },
      () => {
        repo.write("a", LINES.trimEnd());
      },
      1,
    ],
    [
      "a line end more",
      () => {
        repo.write("a", LINES.trimEnd());
      },
      () => {
        repo.write("a", LINES);
      },
      1,
    ],
    [
      "CR LF",
      () => {
        repo.write("a", LINES);
      },
      () => {
        repo.write("a", LINES.replaceAll("\n", "\r\n"));
      },
      1,
    ],
    [
      "a mode",
      () => {
        repo.write("a", LINES);
      },
      () => {
        repo.write("a", LINES, 0o755);
      },
      1,
    ],
    [
      "a mode with its content",
      () => {
        repo.write("a", LINES);
      },
      () => {
        repo.write("a", `${LINES}x\n`, 0o755);
      },
      1,
    ],
    [
      "a binary file",
      () => undefined,
      () => {
        repo.write("b", BINARY);
      },
      1,
    ],
    [
      "a binary file that changes a little",
      () => {
        repo.write("b", BINARY);
      },
      () => {
        repo.write("b", Buffer.concat([BINARY, Buffer.from([0, 1, 2])]));
      },
      1,
    ],
    [
      "a binary file that goes",
      () => {
        repo.write("b", BINARY);
      },
      () => {
        repo.remove("b");
      },
      1,
    ],
    [
      "a link",
      () => undefined,
      () => {
        repo.link("l", "kept");
      },
      1,
    ],
    [
      "a file that becomes a link",
      () => {
        repo.write("a", LINES);
      },
      () => {
        repo.link("a", "kept");
      },
      1,
    ],
    [
      "a file that becomes a folder",
      () => {
        repo.write("a", LINES);
      },
      () => {
        repo.remove("a");
        repo.write("a/b", LINES);
      },
      2,
    ],
    [
      "odd names",
      () => undefined,
      () => {
        for (const name of ['a "b" c', "é ü", "tab\there", "b/ b/x", "back\\slash", " a b/a "]) {
          repo.write(name, LINES);
        }
      },
      6,
    ],
    [
      "a file that moves",
      () => {
        repo.write("a", LINES);
      },
      () => {
        moved("a", "d/e");
      },
      2,
    ],
  ])("%s", (_, before, after, files) => {
    before();
    repo.commit("before");
    after();
    repo.commit("step_01: é\n\n  diff --git a/x b/x\n  --- x");
    expect(verify(lastPatch())).toBe(files);
  });

  it("whatever the contents are", () => {
    const text = fc.array(
      fc.constantFrom("a", "b", "c", "", "a\r", "\\ x", "-- x", "++ x", "@@ x"),
      {
        maxLength: 30,
      },
    );
    const content = fc.tuple(text, fc.constantFrom("\n", "")).map(([lines, end]) => {
      return Buffer.from(lines.join("\n") + end);
    });
    const bytes = fc.uint8Array({ maxLength: 400 }).map((one) => Buffer.from(one));
    fc.assert(
      fc.property(fc.oneof(content, bytes), fc.oneof(content, bytes), (one, other) => {
        repo.write("f", one);
        repo.commit("one");
        repo.write("f", other);
        repo.commit("other");
        expect(verify(lastPatch())).toBe(one.equals(other) ? 0 : 1);
      }),
      { numRuns: 15 },
    );
  });
});

describe("a patch that leads elsewhere is refused", () => {
  it.each<[string, (patch: string) => string, RegExp]>([
    ["of another commit", (patch) => patch.replace(/^From ./, "From f"), /it is of the commit f/],
    ["of no commit", (patch) => patch.slice(1), /does not begin/],
    [
      "with another line",
      (patch) => patch.replace("+zero", "+zorro"),
      /a: applied, it gives other bytes/,
    ],
    ["with a line less", (patch) => patch.replace("+zero\n", ""), /ERR_VERIFY_INVALID/],
    ["about other lines", (patch) => patch.replace("\n one", "\n eno"), /other lines/],
    ["elsewhere in the file", (patch) => patch.replace("@@ -1,", "@@ -2,"), /other lines/],
    ["behind the file's end", (patch) => patch.replace("@@ -1,", "@@ -99,"), /behind the end/],
    ["with another id", (patch) => patch.replace(/index ..../, "index 0000"), /contents of a/],
    ["with another mode", (patch) => patch.replace(" 100644\n---", " 100755\n---"), /modes of a/],
    [
      "with another name",
      (patch) => patch.replace("a/new b/new", "a/now b/now"),
      /does not change/,
    ],
    ["with two names", (patch) => patch.replace("a/new b/new", "a/new b/now"), /two names/],
    ["without a file", (patch) => patch.slice(0, patch.indexOf("diff --git a/new")), /does not\b/],
    ["with a file twice", (patch) => patch + patch.slice(patch.indexOf("diff --git a/new")), /new/],
    ["with other bytes", (patch) => patch.replace(/literal \d+\nz./, "$&x"), /base 85|unpack/],
    ["with words behind it", (patch) => `${patch}words\n`, /ERR_VERIFY_INVALID/],
    ["that is cut", (patch) => patch.slice(0, -9), /ERR_/],
  ])("%s", (_, change, why) => {
    repo.write("a", LINES);
    repo.commit("before");
    repo.write("a", `zero\n${LINES}`);
    repo.write("bin", BINARY);
    repo.write("new", "new file\n");
    repo.commit("after");
    const patch = lastPatch().toString("latin1");
    expect(verify(Buffer.from(patch, "latin1"))).toBe(3);
    const changed = change(patch);
    expect(changed).not.toBe(patch);
    let found = "accepted";
    try {
      verify(Buffer.from(changed, "latin1"));
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      found = `${code}: ${message}`;
    }
    expect(found).toMatch(why);
    expect(found).toMatch(/^ERR_(VERIFY_INVALID|GIT_OBJECT_CORRUPT)/);
  });
});

function moved(from: string, to: string): void {
  repo.remove(from);
  repo.write(to, LINES);
}
