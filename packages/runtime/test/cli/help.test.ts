import { spawnSync } from "node:child_process";
import { openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { helpTexts } from "../../src/cli/index.ts";

const BIN = join(import.meta.dirname, "../../bin");
const PACKAGE = join(import.meta.dirname, "../../package.json");

function type(words: readonly string[], stdout: "pipe" | number = "pipe") {
  const { status, stdout: out } = spawnSync(
    process.execPath,
    ["--permission", `--allow-fs-read=${BIN}`, join(BIN, "sovereign.js"), ...words],
    { encoding: "utf8", stdio: ["ignore", stdout, "pipe"] },
  );
  return { status, out };
}

describe("help", () => {
  const { version } = JSON.parse(readFileSync(PACKAGE, "utf8")) as { version: string };
  const texts = helpTexts(version);

  it.each([
    ["", ["--help"]],
    ["", ["help"]],
    ["exec run", ["exec", "run", "--help"]],
    ["exec run", ["help", "exec", "run"]],
    ["scram status", ["scram", "status", "-h"]],
  ])("of %j is answered from its file, with no module of ours", (name, words) => {
    // The process may read nothing but the folder of the program.
    expect(type(words)).toEqual({ status: 0, out: texts[name] });
  });

  it("says the package's version", () => {
    expect(type(["--version"])).toEqual({ status: 0, out: `${version}\n` });
  });

  it("fails where it cannot be written", () => {
    expect(type(["--help"], openSync("/dev/full", "w")).status).toBe(1);
  });

  it("covers every command but those of another program", () => {
    const others = ["verify", "verify-bundle", "verify-audit"];
    expect(Object.keys(texts)).toEqual(expect.arrayContaining(["runs show", "keys replace"]));
    for (const name of others) expect(texts[name]).toBeUndefined();
  });
});
