import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { adapterOf, findNamed, INSTALLED, splitWords } from "../../src/coding/index.ts";

const openCode = adapterOf("opencode");
let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "named-")));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function put(path: string, mode = 0o755): string {
  const place = join(folder, path);
  mkdirSync(dirname(place), { recursive: true });
  writeFileSync(place, "program");
  chmodSync(place, mode);
  return place;
}

function find(...words: string[]): ReturnType<typeof findNamed> {
  return findNamed(words, {
    installed: INSTALLED,
    folder: join(folder, "installed"),
    path: `${folder}/bin:relative:/usr/bin`,
    root: join(folder, "tree"),
  });
}

describe("the words of a command", () => {
  test.each<[string, string[]]>([
    ["goose acp", ["goose", "acp"]],
    ["  ./my-agent   {task}\t", ["./my-agent", "{task}"]],
    [`a 'b c' "d 'e'" f"g"'h'`, ["a", "b c", "d 'e'", "fgh"]],
    [
      "a $HOME `b` $(c) * ; d > e \\ f",
      ["a", "$HOME", "`b`", "$(c)", "*", ";", "d", ">", "e", "\\", "f"],
    ],
  ])("of %j mean nothing to a shell", (line, words) => {
    expect(splitWords(line)).toEqual(words);
  });

  test.each(["", "  ", "a 'b", 'a "b', "a b'", "''", "a ''"])("of %j are refused", (line) => {
    expect(() => splitWords(line)).toThrow(
      expect.objectContaining({ code: "ERR_REQUEST_INVALID" }),
    );
  });
});

describe("the program of a command", () => {
  test("is an installed agent, by its name, in a version that was tested", () => {
    const { package: name, file } = openCode.packages.program(process.arch);
    const about = { name, version: openCode.packages.versions.to };
    const path = put(join("installed", name, file));
    writeFileSync(join(folder, "installed", name, "package.json"), JSON.stringify(about));
    const { mountedAt } = openCode;
    const command = [mountedAt, "acp"];
    expect(find("opencode", "acp")).toMatchObject({
      path,
      version: about.version,
      mountedAt,
      command,
    });
    writeFileSync(
      join(folder, "installed", name, "package.json"),
      JSON.stringify({ ...about, version: "99.0.0" }),
    );
    expect(() => find("opencode", "acp")).toThrow(
      expect.objectContaining({ code: "ERR_AGENT_VERSION" }),
    );
  });

  test("is a file of the tree, which is there already", () => {
    const path = put("tree/my-agent");
    const found = { path, mountedAt: null, command: ["./my-agent", "x"] };
    expect(find("./my-agent", "x")).toMatchObject(found);
  });

  test("is a file of the user's, which is seen alone, or one of the system's", () => {
    const path = put("bin/goose");
    const mountedAt = "/agent/goose";
    expect(find("goose", "acp")).toMatchObject({ path, mountedAt, command: [mountedAt, "acp"] });
    expect(find(path)).toMatchObject({ path, mountedAt, command: [mountedAt] });
    const system = find("env", "x");
    expect(system.mountedAt).toBeNull();
    expect(system.command).toEqual([system.path, "x"]);
    expect(find("node", "x")).toMatchObject({ mountedAt: null, command: ["node", "x"] });
  });

  test.each(["./none", "./outside", "../bin/goose", "none", "/none", "./plain", "./folder", ""])(
    "is none at %j",
    (word) => {
      put("bin/goose");
      put("tree/plain", 0o644);
      mkdirSync(join(folder, "tree/folder"));
      symlinkSync(join(folder, "bin/goose"), join(folder, "tree/outside"));
      expect(() => find(word)).toThrow(expect.objectContaining({ code: "ERR_AGENT_MISSING" }));
    },
  );
});
