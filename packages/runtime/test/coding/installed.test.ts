import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { adapterOf, digestOfProgram, findProgram } from "../../src/coding/index.ts";

const claude = adapterOf("claude");
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agents-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function put(version: string, adapter = claude): void {
  const { package: name, file, beside = [] } = adapter.packages.program(process.arch);
  const path = join(folder, name, file);
  mkdirSync(dirname(path), { recursive: true });
  for (const one of [path, ...beside.map((name) => join(dirname(path), name))]) {
    writeFileSync(one, "program");
  }
  writeFileSync(join(folder, name, "package.json"), JSON.stringify({ name, version }));
}

test.each(["2.1.314", "2.1.329", "2.1.320"])("the version %s may work", async (version) => {
  put(version);
  const program = findProgram(claude, folder);
  expect(program.version).toBe(version);
  expect(await digestOfProgram(program)).toMatch(/^[0-9a-f]{64}$/);
});

test.each(["2.1.313", "2.1.330", "3.0.0", "2.2.0", "1.9.999", "2.1.329-rc.1", "latest", ""])(
  "the version %j may not",
  (version) => {
    put(version);
    expect(() => findProgram(claude, folder)).toThrow(
      expect.objectContaining({ code: "ERR_AGENT_VERSION" }),
    );
  },
);

test("a version that ends with the machine's name is the one before it", () => {
  const codex = adapterOf("codex");
  const { to } = codex.packages.versions;
  put(`${to}-linux-${process.arch}`, codex);
  expect(findProgram(codex, folder).version).toBe(to);
  put(`${to}-linux-other`, codex);
  expect(() => findProgram(codex, folder)).toThrow(
    expect.objectContaining({ code: "ERR_AGENT_VERSION" }),
  );
});

test("a program that is not there is named with the command that brings it", () => {
  expect(() => findProgram(claude, folder)).toThrow(
    expect.objectContaining({
      code: "ERR_AGENT_MISSING",
      message: expect.stringContaining("npm run agents:install") as string,
    }),
  );
});

test("an agent without an adapter is refused with the names of those that have one", () => {
  expect(() => adapterOf("goose")).toThrow(
    expect.objectContaining({
      code: "ERR_AGENT_UNKNOWN",
      message: expect.stringContaining("claude") as string,
    }),
  );
});
