import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { main } from "../src/cli.ts";

let folder: string;
const said: string[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sovereign-inputs-"));
  execFileSync("mkfifo", [join(folder, "a pipe")]);
  writeFileSync(join(folder, "an empty file"), "");
  for (const [name, bytes] of [
    ["2 GB of nothing", 2e9],
    ["a bundle over its limit", 500 * 1024 * 1024 + 1],
    ["a trust root over its limit", 64 * 1024 * 1024 + 1],
  ] as const) {
    const file = openSync(join(folder, name), "w");
    ftruncateSync(file, bytes);
    closeSync(file);
  }
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** Run the command, and keep what it says. */
async function run(words: readonly string[]): Promise<{ exit: number; said: string }> {
  said.length = 0;
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, "write").mockImplementation((text) => said.push(String(text)) > 0);
  }
  const exit = await main(words.map((word) => word.replace("@", `${folder}/`)));
  vi.restoreAllMocks();
  return { exit, said: said.join("") };
}

/** Each is refused at once: nothing waits for a writer, and nothing large is read first. */
describe("an input that is no evidence", { timeout: 10_000 }, () => {
  it.each([
    [["audit", "@a pipe"], 2, /a named pipe.*ERR_FILE_UNREADABLE/],
    [["audit", "@an empty file"], 2, /no entries.*ERR_|empty/],
    [["audit", "@2 GB of nothing"], 4, /^INVALID[^]*line 1/],
    [["audit", "/dev/zero"], 2, /a device.*ERR_FILE_UNREADABLE/],
    [["--bundle", "@a pipe"], 2, /a named pipe.*ERR_FILE_UNREADABLE/],
    [["--bundle", "@an empty file"], 2, /ERR_BUNDLE_MALFORMED/],
    [["--bundle", "@a bundle over its limit"], 2, /at most \d+ bytes.*ERR_FILE_UNREADABLE/],
    [["--bundle", "@2 GB of nothing"], 2, /at most \d+ bytes.*ERR_FILE_UNREADABLE/],
    [["--bundle", "@an empty file", "--trust", "@a pipe"], 2, /a named pipe/],
    [["--bundle", "@an empty file", "--trust", "@a trust root over its limit"], 2, /at most/],
    [["audit", "@an empty file", "--checkpoint", "@a pipe", "--trust", "@a pipe"], 2, /pipe/],
  ])("is refused at once: %j", async (words, exit, text) => {
    const found = await run(words);
    expect(found.said).toMatch(text);
    expect(found.exit).toBe(exit);
    // One line for a person, or the few of a verdict.
    expect(found.said.trimEnd().split("\n").length).toBeLessThan(6);
  });
});
