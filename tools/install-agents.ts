/**
 * Installs the pinned programs of coding agents into a folder apart, which `sovereign agent` looks in:
 * they are large, and nothing else of the product needs them. No install script of theirs is run.
 */
import { copyFileSync, mkdirSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findProgram, INSTALLED } from "../packages/runtime/src/coding/index.ts";
import { agentsFolder } from "../packages/runtime/src/services/agents/agents-folder.ts";

const PINNED = fileURLToPath(new URL("../e2e/clis/", import.meta.url));
const folder = dirname(agentsFolder(process.env));

if (!INSTALLED.every((one) => isInstalled(one))) install();

function isInstalled(adapter: (typeof INSTALLED)[number]): boolean {
  try {
    findProgram(adapter, join(folder, "node_modules"));
    return true;
  } catch {
    return false;
  }
}

function install(): void {
  mkdirSync(folder, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) {
    copyFileSync(join(PINNED, name), join(folder, name));
  }
  const words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
  const { status } = spawnSync("npm", words, { cwd: folder, stdio: "inherit" });
  if (status === 0) console.log(`agents are installed in ${folder}`);
  process.exitCode = status ?? 1;
}
