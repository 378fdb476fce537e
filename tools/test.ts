import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseStrictJson } from "@sovereign/core";
import { type Report, replaceFiles, triedAgain } from "./test-report.ts";

/** Test names and messages may be anything. */
const REPORT = { bytesMax: 2 ** 30, loneSurrogates: true } as const;

/**
 * All the tests but those of `npm run test:agents`, which a busy machine starves; and beside them all
 * that is checked without running the product. Most tests wait more than they compute: the checks use
 * what they leave, and come after them wherever both want a processor.
 *
 * A few files of real processes that failed are tried once more, alone: what fails then, too, has failed.
 * Each that did not is named, so that nobody takes it for sound.
 */
const reports = mkdtempSync(join(tmpdir(), "sov-reports-"));
const checked = runScript("nice", ["-n", "19", "npm", "run", "--silent", "check"]);
const projects = ["real", "tidy", "unit", "alone"].flatMap((name) => ["--project", name]);
let tested = await runTests("all", projects);
const again = tested.status === 0 ? [] : triedAgain(tested.report, process.cwd());
if (again.length > 0) {
  console.log(`\nTried once more, alone:\n  ${again.join("\n  ")}\n`);
  const { status, report } = await runTests("again", ["--maxWorkers=1", ...projects, ...again]);
  tested = { status, report: replaceFiles(tested.report, report) };
}
const { status, said } = await checked;
process.stdout.write(said);
if (again.length > 0 && tested.status === 0) {
  console.log(`\nFailed among others, and passed alone:\n  ${again.join("\n  ")}`);
}
const wanted = process.env["VITEST_REPORT"];
if (wanted !== undefined) writeFileSync(wanted, JSON.stringify(tested.report));
rmSync(reports, { recursive: true, force: true });
process.exitCode = tested.status === 0 ? status : tested.status;

async function runTests(
  name: string,
  args: readonly string[],
): Promise<{ status: number; report: Report | null }> {
  const path = join(reports, `${name}.json`);
  const env = { ...process.env, VITEST_REPORT: path };
  const { status: code } = await runScript("vitest", ["run", ...args], "inherit", env);
  try {
    const report = parseStrictJson(readFileSync(path), REPORT);
    return { status: code, report: report as unknown as Report };
  } catch {
    return { status: code === 0 ? 1 : code, report: null };
  }
}

interface End {
  readonly status: number;
  readonly said: string;
}

function runScript(
  command: string,
  args: readonly string[],
  output: "inherit" | "pipe" = "pipe",
  env: NodeJS.ProcessEnv = process.env,
): Promise<End> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", output, output], env });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk) => (said += String(chunk)));
    }
    child.on("error", (error) => (said += `${error.message}\n`));
    child.on("close", (status) => {
      resolve({ status: status ?? 1, said });
    });
  });
}
