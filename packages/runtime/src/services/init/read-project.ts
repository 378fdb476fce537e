import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { parseStrictJson } from "@sovereign/core";

const BYTES_MAX = 1024 * 1024;

/** One command that a policy may allow. */
export interface ProjectCommand {
  readonly id: string;
  readonly executable: string;
  /** Patterns of arguments. */
  readonly args: readonly string[];
}

/** What a repository says that it is. Nothing of it was run. */
export interface Project {
  /** Files of the root that told, with what they told. */
  readonly found: readonly { readonly file: string; readonly means: string }[];
  readonly presets: readonly ("node" | "python" | "rust" | "go" | "java")[];
  readonly commands: readonly ProjectCommand[];
}

type Found = Project["found"][number] & Pick<Project, "presets" | "commands">;

/**
 * Look at the files of a repository's root. They are hostile: they are read up to a limit, links are
 * not followed, and only words that we know are taken from them.
 */
export function readProject(root: string): Project {
  const all = [node(root), python(root), rust(root), go(root), java(root), make(root)];
  const found = all.filter((one) => one !== null);
  return {
    found: found.map(({ file, means }) => ({ file, means })),
    presets: found.flatMap((one) => one.presets),
    commands: found.flatMap((one) => one.commands),
  };
}

const SCRIPTS = ["test", "lint", "format", "check", "build", "typecheck", "types"];

function node(root: string): Found | null {
  const text = textOf(root, "package.json");
  if (text === null) return null;
  const scripts = scriptsOf(text);
  const known = SCRIPTS.filter((name) => scripts.includes(name));
  const managers = [
    ["pnpm-lock.yaml", "pnpm"],
    ["yarn.lock", "yarn"],
    ["bun.lock", "bun"],
  ] as const;
  const manager = managers.find(([lock]) => isFile(root, lock))?.[1] ?? "npm";
  return {
    file: "package.json",
    means: `Node, by ${manager}${known.length > 0 ? `; scripts ${known.join(", ")}` : ""}`,
    presets: ["node"],
    commands: [
      { id: "node-test", executable: "node", args: ["--test", "**/*.test.*"] },
      ...(known.length === 0
        ? []
        : [{ id: `${manager}-run`, executable: manager, args: ["run", ...known] }]),
    ],
  };
}

/** The names alone: what a script does is the sandbox's to hold. */
function scriptsOf(text: string): string[] {
  try {
    const value = parseStrictJson(Buffer.from(text)) as { scripts?: unknown } | null;
    const scripts = value?.scripts;
    return typeof scripts === "object" && scripts !== null ? Object.keys(scripts) : [];
  } catch {
    return [];
  }
}

function python(root: string): Found | null {
  const files = ["pyproject.toml", "requirements.txt", "setup.py", "setup.cfg", "pytest.ini"];
  const file = files.find((name) => isFile(root, name));
  if (file === undefined) return null;
  const text = files.map((name) => textOf(root, name) ?? "").join("\n");
  const args = ["-q", "-v", "-x", "tests", "tests/**", "**/test_*.py", "**/*_test.py"];
  const tools = [
    { id: "ruff", executable: "ruff", args: ["check", "format", "--fix", "."] },
    { id: "black", executable: "black", args: ["--check", "."] },
    { id: "mypy", executable: "mypy", args: ["."] },
  ].filter(({ id }) => new RegExp(`\\b${id}\\b`).test(text));
  return {
    file,
    means: ["Python", ...tools.map(({ id }) => id)].join(", "),
    presets: ["python"],
    commands: [
      { id: "pytest", executable: "pytest", args },
      { id: "unittest", executable: "python", args: ["-m", "unittest", "pytest", ...args] },
      ...tools,
    ],
  };
}

function rust(root: string): Found | null {
  if (!isFile(root, "Cargo.toml")) return null;
  const args = ["test", "build", "check", "fmt", "clippy", "--offline", "--workspace", "--check"];
  return {
    ...{ file: "Cargo.toml", means: "Rust, by cargo", presets: ["rust"] },
    commands: [{ id: "cargo", executable: "cargo", args }],
  };
}

function go(root: string): Found | null {
  if (!isFile(root, "go.mod")) return null;
  return {
    ...{ file: "go.mod", means: "Go", presets: ["go"] },
    commands: [
      { id: "go", executable: "go", args: ["test", "build", "vet", "-v", "./..."] },
      { id: "gofmt", executable: "gofmt", args: ["-l", "-w", ".", "**/*.go"] },
    ],
  };
}

function java(root: string): Found | null {
  const gradle = ["build.gradle", "build.gradle.kts"].find((name) => isFile(root, name));
  if (isFile(root, "pom.xml")) {
    return {
      ...{ file: "pom.xml", means: "Java, by Maven", presets: ["java"] },
      commands: [{ id: "mvn", executable: "mvn", args: ["-o", "-q", "-B", "test", "verify"] }],
    };
  }
  if (gradle === undefined) return null;
  return {
    ...{ file: gradle, means: "Java, by Gradle", presets: ["java"] },
    commands: [{ id: "gradle", executable: "gradle", args: ["--offline", "test", "check"] }],
  };
}

function make(root: string): Found | null {
  const text = textOf(root, "Makefile");
  if (text === null) return null;
  const known = ["test", "check", "lint", "format", "build"];
  const targets = known.filter((name) => new RegExp(`^${name}\\s*:(?!=)`, "m").test(text));
  if (targets.length === 0) return null;
  return {
    ...{ file: "Makefile", means: `make ${targets.join(", ")}`, presets: [] },
    commands: [{ id: "make", executable: "make", args: targets }],
  };
}

function isFile(root: string, name: string): boolean {
  return lstatSync(join(root, name), { throwIfNoEntry: false })?.isFile() === true;
}

/** A plain file's text, up to the limit; null for anything else. Opening it never waits. */
function textOf(root: string, name: string): string | null {
  if (!isFile(root, name)) return null;
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  let file: number;
  try {
    file = openSync(join(root, name), flags);
  } catch {
    return null;
  }
  try {
    const { size } = fstatSync(file);
    if (!fstatSync(file).isFile() || size > BYTES_MAX) return null;
    const bytes = Buffer.alloc(size);
    return bytes.subarray(0, readSync(file, bytes)).toString("utf8");
  } finally {
    closeSync(file);
  }
}
