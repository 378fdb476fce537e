import {
  linkSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { quoted, SovereignError, utf8Encode } from "@sovereign/core";
import { parsePolicy } from "../../policy/index.ts";
import { findWorkTree, POLICY_PLACE } from "../exec/find-policy.ts";
import { openDataFolder, trustPolicy } from "../../home/index.ts";
import type { Services } from "../services.ts";
import { type Project, readProject } from "./read-project.ts";
import { starterPolicy } from "./starter-policy.ts";

export interface InitReport extends Project {
  /** Where the policy is, or would be. */
  readonly policy: string;
  readonly written: boolean;
  readonly text: string;
}

/** A repository gets a policy to begin with, which is then accepted on this machine. */
export function initServices(home: string): Pick<Services, "initRepository"> {
  return {
    initRepository: (folder, { dryRun, force }) =>
      Promise.resolve().then(() => initRepository(home, folder, dryRun, force)),
  };
}

/** @throws ERR_REPOSITORY_REFUSED, ERR_POLICY_EXISTS; then nothing was written */
function initRepository(home: string, folder: string, dryRun: boolean, force: boolean): InitReport {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    const text = `Expected a folder at ${quoted(folder)}, found none.`;
    throw new SovereignError("ERR_REPOSITORY_REFUSED", text);
  }
  const root = findWorkTree(folder);
  if (root === null) {
    const text = `Expected a git repository at ${quoted(folder)}, found none. Type: git init`;
    throw new SovereignError("ERR_REPOSITORY_REFUSED", text);
  }
  const project = readProject(root);
  const text = starterPolicy(project);
  const policy = join(root, POLICY_PLACE);
  const bytes = utf8Encode(text);
  parsePolicy(bytes, policy);
  if (!dryRun) {
    // Where nothing can be kept, nothing is written.
    openDataFolder(home);
    write(policy, text, force);
    trustPolicy(home, policy, bytes);
  }
  return { ...project, policy, written: !dryRun, text };
}

/** Whole or not at all; never through a link that the repository brought. */
function write(path: string, text: string, force: boolean): void {
  const folder = dirname(path);
  const there = lstatSync(folder, { throwIfNoEntry: false });
  if (there !== undefined && !there.isDirectory()) {
    throw exists(`${quoted(folder)} is no plain folder. Move it away, then try again.`);
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined && (!force || !found.isFile())) {
    const how = found.isFile()
      ? "To see and accept it: sovereign policy trust. To write it anew: --force"
      : "It is no plain file: move it away";
    throw exists(`${quoted(path)} is there already, and stays as it is. ${how}.`);
  }
  if (there === undefined) mkdirSync(folder, { mode: 0o755 });
  const fresh = join(folder, `.policy-${process.pid}.new`);
  try {
    writeFileSync(fresh, text, { flag: "wx", mode: 0o644 });
    if (force) renameSync(fresh, path);
    else linkSync(fresh, path);
  } finally {
    rmSync(fresh, { force: true });
  }
}

function exists(text: string): SovereignError {
  return new SovereignError("ERR_POLICY_EXISTS", text);
}
