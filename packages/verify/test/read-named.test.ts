import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readNamed } from "../src/index.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sovereign-named-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const refusal = (why: string): Error =>
  expect.objectContaining({
    code: "ERR_FILE_UNREADABLE",
    message: expect.stringContaining(why) as string,
  }) as Error;

describe("a file that a person names", () => {
  it("is read whole, up to the bound and no further", () => {
    const file = join(folder, "ten");
    writeFileSync(file, "0123456789");
    expect(readNamed(file).toString()).toBe("0123456789");
    expect(readNamed(file, 10)).toHaveLength(10);
    expect(() => readNamed(file, 9)).toThrow(refusal("expected at most 9 bytes"));
    // Its size is told as 0.
    expect(readNamed("/proc/self/status").toString()).toContain("Name:");
  });

  it("is refused, and not waited for, when it is no plain file", () => {
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    expect(() => readNamed(pipe)).toThrow(refusal("found a named pipe"));
    expect(() => readNamed(folder)).toThrow(refusal("found a folder"));
    expect(() => readNamed("/dev/zero")).toThrow(refusal("found a device"));
    expect(() => readNamed(join(folder, "none"))).toThrow(refusal("no such file"));
  });

  it("may be what the shell holds open", () => {
    const program = `import { readNamed } from ${JSON.stringify(new URL("../src/index.ts", import.meta.url).href)};
      process.stdout.write(readNamed("/dev/stdin"));`;
    const command =
      'printf piped | "$0" --disable-warning=ExperimentalWarning --input-type=module -e "$1"';
    const args = ["-c", command, process.execPath, program];
    expect(execFileSync("/bin/sh", args).toString()).toBe("piped");
  });
});
