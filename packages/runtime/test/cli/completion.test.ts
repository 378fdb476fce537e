import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const CLI = join(import.meta.dirname, "../../bin/sovereign.js");
const { PATH = "" } = process.env;
const FILES = [
  "plain.yaml",
  "with space.yaml",
  "$(touch hit)",
  "`touch hit`",
  "a\nb; touch hit",
  "'\"$(touch hit)",
  "*",
  "--json",
];
let folder: string;
let work: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-completion-"));
  work = join(folder, "work");
  mkdirSync(work);
  for (const name of FILES) writeFileSync(join(work, name), "");
  writeFileSync(join(folder, "script"), print("bash"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function print(...words: string[]): string {
  const env = { PATH, HOME: folder, SOVEREIGN_HOME: join(folder, "data") };
  const end = spawnSync(process.execPath, [CLI, "completion", ...words], { env, encoding: "utf8" });
  expect(end.status).toBe(0);
  return end.stdout;
}

/** What bash's function offers for the last word. */
function offered(...words: string[]): string[] {
  const program = [
    'set -u; source ../script; COMP_WORDS=(sovereign "$@"); COMP_CWORD=$#',
    "_sovereign; printf '%s\\0' \"${COMPREPLY[@]}\"",
  ].join("\n");
  const end = spawnSync("bash", ["--norc", "-c", program, "bash", ...words], {
    cwd: work,
    env: { PATH },
    encoding: "utf8",
  });
  expect(end.stderr).toBe("");
  return end.stdout.split("\0").filter((one) => one !== "");
}

describe("the completion of bash", () => {
  it("knows commands, options and fixed values", () => {
    expect(offered("exe")).toEqual(["exec"]);
    expect(offered("exec", "r")).toEqual(["run", "resume", "rollback"]);
    expect(offered("help", "exec", "pl")).toEqual(["plan"]);
    expect(offered("--json", "--tenant", "exec", "keys", "rev")).toEqual(["revoke"]);
    expect(offered("exec", "run", "--req")).toEqual(["--request"]);
    expect(offered("exec", "run", "--tena")).toEqual(["--tenant"]);
    expect(offered("exec", "run", "--mode", "")).toEqual(["sovereign", "compatible"]);
    expect(offered("exec", "run", "--mode", "=", "c")).toEqual(["compatible"]);
    expect(offered("exec", "run", "--mode", "=")).toEqual(["sovereign", "compatible"]);
    expect(offered("completion", "")).toEqual(["bash", "zsh", "fish"]);
    expect(offered("runs", "list", "--limit", "")).toEqual([]);
    expect(offered("no-such-command")).toEqual([]);
  });

  it("offers files of every name as they are, and an option's name only as a path", () => {
    const expected = FILES.map((name) => (name === "--json" ? "./--json" : name));
    for (const words of [
      ["run", "start"],
      ["exec", "run", "--request"],
      ["exec", "run", "--"],
    ]) {
      expect(offered(...words, "").sort()).toEqual([...expected].sort());
    }
    expect(offered("run", "start", "with ")).toEqual(["with space.yaml"]);
    expect(offered("run", "start", "$(touch")).toEqual(["$(touch hit)"]);
    expect(offered("run", "start", "`")).toEqual(["`touch hit`"]);
    expect(offered("run", "start", "a\n")).toEqual(["a\nb; touch hit"]);
    expect(offered("run", "start", "*")).toEqual(["*"]);
  });

  it("runs nothing of what was typed or lies in the folder", () => {
    for (const evil of ["$(touch hit)", "`touch hit`", "a[$(touch hit)]", "x'; touch hit; '"]) {
      offered(evil);
      offered("exec", evil);
      offered("exec", evil, "run", "--request", evil);
      offered("--tenant", evil, evil, "--", evil);
      offered(`--${evil}`, "=", evil);
    }
    expect(readdirSync(work).sort()).toEqual([...FILES].sort());
  });
});

it("completion says how each shell uses it, and refuses other shells", () => {
  expect(print("--help")).toMatch(/choices: "bash", "zsh", "fish"[^]*bash-completion/);
  const other = spawnSync(process.execPath, [CLI, "completion", "tcsh"], {
    env: { PATH, HOME: folder },
    encoding: "utf8",
  });
  expect(other.status).toBe(2);
  expect(other.stderr).toContain("bash, zsh, fish");
});

// A shell that is installed reads its script; one that is not is told to the reader of the log.
it.each(["bash", "zsh", "fish"])("the script for %s names every command", (shell) => {
  const script = shell === "bash" ? readFileSync(join(folder, "script"), "utf8") : print(shell);
  expect(script).toContain("exec rollback");
  expect(script).toContain("scram activate");
  const here = PATH.split(delimiter).some((one) => existsSync(join(one, shell)));
  if (!here) {
    process.stderr.write(`${shell} is not installed: its script was not read by it\n`);
    return;
  }
  const end = spawnSync(shell, ["-n"], { input: script, encoding: "utf8", env: { PATH } });
  expect({ status: end.status, err: end.stderr }).toEqual({ status: 0, err: "" });
});
