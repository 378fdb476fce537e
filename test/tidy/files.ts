import { execFileSync } from "node:child_process";

/** The files of the repository, tracked or new, that match. */
export function listFiles(pattern: RegExp): string[] {
  const args = ["ls-files", "--cached", "--others", "--exclude-standard"];
  return execFileSync("git", args, { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 })
    .split("\n")
    .filter((path) => path !== "" && pattern.test(path));
}
