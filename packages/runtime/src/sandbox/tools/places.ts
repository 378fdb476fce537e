import { lstatSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, normalize, resolve, sep } from "node:path";
import { quoted, SovereignError } from "@sovereign/core";

/** Where things are on the machine of whoever asks for tools. */
export interface Machine {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The home folder, without links; empty for a user without one. */
  readonly home: string;
  /** The installation's folder: no command ever sees it. */
  readonly dataFolder: string;
  /** The user's work tree; null where a command has none. */
  readonly tree: WorkTree | null;
}

export interface WorkTree {
  /** Without links. */
  readonly root: string;
  /** Git's own folder, which may lie elsewhere. */
  readonly gitDir: string;
  /** True for a file that git has, and for a folder with one. */
  isTracked(path: string): boolean;
}

/** The home folder as the environment or the system says it. */
export function homeOf(environment: Machine["environment"]): string {
  try {
    return realpathSync(environment["HOME"] || homedir());
  } catch {
    return "";
  }
}

/** Folders of the system that are no tools: kernel, devices, sockets, configuration, others' data. */
const SYSTEM = ["/proc", "/sys", "/dev", "/run", "/boot", "/etc", "/lost+found", "/var"];
/** Below `/var` these may be. */
const VAR = ["/var/tmp", "/var/cache", "/var/opt"];
/** Names under which people and programs keep keys; none may be on the way or below. */
const SECRETS: ReadonlySet<string> = new Set(
  [
    ".ssh .aws .gnupg .kube .docker .azure .netrc .git-credentials .pgpass .pypirc .password-store",
    ".vault-token .terraform.d .mozilla .thunderbird .bash_history .zsh_history .1password",
    "id_rsa id_dsa id_ecdsa id_ed25519 docker.sock",
  ]
    .join(" ")
    .split(" "),
);
/** Not on the way: configuration of everything that a user has. Below a tool it is its own. */
const ON_THE_WAY: ReadonlySet<string> = new Set([".config", ".npmrc", ".git", "keyrings"]);
/** Folders of the home that hold a tool's files and its keys: name what is below them. */
const MIXED: Readonly<Record<string, string>> = {
  ".cargo": ".cargo/registry",
  ".m2": ".m2/repository",
  ".gradle": ".gradle/caches",
  ".local": ".local/share/NAME",
  ".local/share": ".local/share/NAME",
  ".cache": ".cache/NAME",
};

/** True for a name that holds keys wherever it is, and for a key file of ours. */
export function isSecretName(name: string): boolean {
  const folded = name.toLowerCase();
  return SECRETS.has(folded) || folded.endsWith(".key.json");
}

export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
}

/**
 * What may be mounted: where a path really is.
 *
 * @param path absolute; untrusted
 * @param from the folder that it must not leave by way of links; null for anywhere
 * @throws ERR_MOUNT_REFUSED
 */
export function judgeSource(path: string, machine: Machine, from: string | null): string {
  let real: string;
  try {
    real = realpathSync(path);
  } catch {
    throw refusedSource(path, "there is nothing that can be read");
  }
  if (from !== null && !isWithin(real, from)) {
    throw refusedSource(path, `a link leads out of ${quoted(from)}, to ${quoted(real)}`);
  }
  const why = whyNot(real, machine);
  if (why !== null) throw refusedSource(path, why);
  const found = lstatSync(real);
  if (found.isDirectory() || found.isFile()) return real;
  throw refusedSource(path, "expected a file or folder; it is a socket, pipe or device");
}

function whyNot(real: string, machine: Machine): string | null {
  return whyNotOurs(real, machine) ?? whyNotThere(real) ?? whyNotSecret(real, machine.home);
}

function whyNotOurs(real: string, { home, dataFolder, tree }: Machine): string | null {
  const closed = [realOf(dataFolder), tree?.gitDir ?? ""].filter((one) => one !== "");
  const kept = [...closed, home, tree?.root ?? ""].filter((one) => one !== "");
  const over = kept.find((one) => isWithin(one, real));
  if (over !== undefined) return `${quoted(over)} is in it: name what is needed alone`;
  const inside = closed.find((one) => isWithin(real, one));
  return inside === undefined ? null : `it is in ${quoted(inside)}, which no command sees`;
}

function whyNotThere(real: string): string | null {
  if (real.split("/").length < 3) return "it is a top folder of the machine: name what is needed";
  if (/^\/home\/[^/]+$/.test(real)) return "it is a home folder: name what is needed";
  const system = SYSTEM.find((one) => isWithin(real, one));
  if (system === undefined || VAR.some((one) => real.startsWith(`${one}/`))) return null;
  return `${system} is no place of tools`;
}

function whyNotSecret(real: string, home: string): string | null {
  const names = real.split("/");
  const secret = names.find((name) => isSecretName(name) || ON_THE_WAY.has(name.toLowerCase()));
  if (secret !== undefined) return `${quoted(secret)} is where keys are kept`;
  if (home === "" || !isWithin(real, home)) return null;
  const mixed = MIXED[real.slice(home.length + 1)];
  return mixed === undefined
    ? null
    : `keys may be kept in it: name the folder below, such as ~/${mixed}`;
}

function realOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return resolve(path);
  }
}

/** Inside: what the sandbox itself makes, and what no mount may cover. */
const OURS = [
  ...["/proc", "/sys", "/dev", "/etc", "/usr", "/bin", "/sbin", "/runtime", "/run"],
  // An agent's program, and what of ours speaks with it.
  ...["/agent", "/sovereign"],
];
const EXACTLY = ["/", "/tmp", "/home", "/home/agent", "/workspace", "/root", "/var"];

/**
 * Where a mount may be seen.
 * @throws ERR_MOUNT_REFUSED
 */
export function judgeTarget(at: string): string {
  const refuse = (why: string): SovereignError =>
    new SovereignError("ERR_MOUNT_REFUSED", `Nothing can be mounted at ${quoted(at)}: ${why}.`);
  if (!isAbsolute(at) || normalize(at) !== at || (at !== "/" && at.endsWith(sep))) {
    throw refuse("expected an absolute path without . or .. or a / at its end");
  }
  if (EXACTLY.includes(at)) throw refuse("name a place below it");
  const ours = OURS.find((one) => isWithin(at, one));
  if (ours !== undefined || /^\/lib[^/]*(\/|$)/.test(at))
    throw refuse("the sandbox's own are there");
  if (at.split("/").some((name) => name.toLowerCase().startsWith(".git"))) {
    throw refuse("git would obey it");
  }
  return at;
}

/** A path as a policy writes it: absolute, below the home folder, or relative to the work tree. */
export function placeOf(
  path: string,
  { home, tree }: Machine,
): { readonly path: string; readonly relative: string | null } {
  if (path.startsWith("~/")) {
    if (home === "") throw refusedSource(path, "this user has no home folder");
    return { path: join(home, path.slice(2)), relative: null };
  }
  if (isAbsolute(path)) return { path, relative: null };
  const plain = normalize(path).replace(/\/$/, "");
  if (plain === "." || plain.split("/").includes("..")) {
    throw refusedSource(path, "expected a path below the work tree");
  }
  if (tree === null) throw refusedSource(path, "there is no work tree: name an absolute path");
  return { path: join(tree.root, plain), relative: plain };
}

export function refusedSource(path: string, why: string): SovereignError {
  const text = `Commands may not see ${quoted(path)}: ${why}.`;
  return new SovereignError("ERR_MOUNT_REFUSED", text, { path: path.slice(0, 200) });
}
