import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

/**
 * Makes sure that the machine has what the product starts, before the main job and the tests.
 * As root on Debian or Ubuntu it installs what is missing; elsewhere it says what to type.
 */

/** Program → the Debian package that brings it: what the product itself starts. */
const NEEDED: Readonly<Record<string, string>> = {
  bwrap: "bubblewrap",
  prlimit: "util-linux",
  unshare: "util-linux",
  bash: "bash",
  perl: "perl-base",
};
/** What only tests start, with `--tests`: without it the tests that need it fail, and say so. */
const NEEDED_BY_TESTS: Readonly<Record<string, string>> = {
  chromium: "chromium",
  crun: "crun",
  ip: "iproute2",
  nsenter: "util-linux",
  pgbouncer: "pgbouncer",
  radicale: "radicale",
  zsh: "zsh",
  fish: "fish",
};
const FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

const missing = missingOf(NEEDED);
if (missing.length > 0) process.exitCode = install(missing);
const missingForTests = process.argv.includes("--tests") ? missingOf(NEEDED_BY_TESTS) : [];
if (missingForTests.length > 0) install(missingForTests);

function missingOf(needed: Readonly<Record<string, string>>): string[] {
  const absent = Object.entries(needed).filter(
    ([program]) => !FOLDERS.some((folder) => existsSync(`${folder}/${program}`)),
  );
  return [...new Set(absent.map(([, name]) => name))];
}

function install(packages: readonly string[]): number {
  const command = `apt-get install -y --no-install-recommends ${packages.join(" ")}`;
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) {
    console.error(`Missing system packages: ${packages.join(", ")}. Type: sudo ${command}`);
    return 1;
  }
  console.error(`Installing system packages: ${packages.join(", ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const steps = [["update"], ["install", "-y", "--no-install-recommends", ...packages]];
  for (const args of steps) {
    const end = spawnSync("apt-get", ["-qq", ...args], { env, encoding: "utf8" });
    if (end.status !== 0) {
      console.error(`apt-get failed: ${end.stderr.trim().slice(-500)}\nType: ${command}`);
      return 1;
    }
  }
  return 0;
}
