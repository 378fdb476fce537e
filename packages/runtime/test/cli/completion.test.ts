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
    expect(offered("exec", "run", "--tena")).toEqual(["--tenant", "--tenant-id"]);
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

it.each(["bash", "zsh", "fish"])("the script for %s names every command", (shell) => {
  const script = shell === "bash" ? readFileSync(join(folder, "script"), "utf8") : print(shell);
  expect(script).toContain("exec rollback");
  expect(script).toContain("scram activate");
  const here = PATH.split(delimiter).some((one) => existsSync(join(one, shell)));
  if (!here) throw new Error(`${shell} is not installed. Type: sudo apt-get install ${shell}`);
  const file = join(folder, `${shell}-script`);
  writeFileSync(file, script);
  const end = spawnSync(shell, ["-n", file], { encoding: "utf8", env: { PATH } });
  expect({ status: end.status, err: end.stderr }).toEqual({ status: 0, err: "" });
});

/** What zsh has of its own, in the place of what is there while somebody types. */
const ZSH = `compdef() { :; }
compset() { :; }
compadd() { shift; print -l -- "$@"; }
_files() { print files; }
source ../zsh; words=(sovereign "$@"); CURRENT=$#words; PREFIX=$words[-1]
_sovereign`;

/** What a shell offers for the last word; zsh leaves it to its own part to choose by what was typed. */
function offeredBy(shell: "zsh" | "fish", ...words: string[]): string[] {
  const commands = {
    zsh: ["-f", "-c", ZSH, "zsh", ...words],
    fish: ["--no-config", "-c", 'source ../fish; complete -C "$argv"', "sovereign", ...words],
  };
  const end = spawnSync(shell, commands[shell], {
    cwd: work,
    env: { PATH, HOME: folder },
    encoding: "utf8",
  });
  expect(end.stderr).toBe("");
  const lines = end.stdout.split("\n").filter((line) => line !== "");
  return lines.map((line) => line.split("\t")[0] ?? "");
}

describe.each(["zsh", "fish"] as const)("the completion of %s, read by that shell", (shell) => {
  beforeAll(() => {
    writeFileSync(join(folder, shell), print(shell));
  });

  it("offers commands, options, fixed values and files", () => {
    const offers = (...words: string[]): string[] => offeredBy(shell, ...words);
    expect(offers("exec", "r")).toEqual(expect.arrayContaining(["resume", "rollback", "run"]));
    expect(offers("exec", "r")).not.toContain("scram");
    expect(offers("exec", "run", "--re")).toContain("--request");
    expect(offers("exec", "run", "--mode", "").sort()).toEqual(["compatible", "sovereign"]);
    const files = offers("run", "start", "");
    expect(files).toEqual(expect.arrayContaining([shell === "zsh" ? "files" : "plain.yaml"]));
  });

  it("runs nothing of what was typed or lies in the folder", () => {
    for (const evil of ["$(touch hit)", "`touch hit`", "a[$(touch hit)]"]) {
      offeredBy(shell, "exec", evil, "run", "--request", evil);
      offeredBy(shell, evil, "--tenant", evil, "");
    }
    expect(readdirSync(work).sort()).toEqual([...FILES].sort());
  });
});
