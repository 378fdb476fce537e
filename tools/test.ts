import { spawn } from "node:child_process";

/**
 * All the tests but those of `npm run test:agents`, which a busy machine starves; and beside them all
 * that is checked without running the product. Most tests wait more than they compute: the checks use
 * what they leave, and come after them wherever both want a processor.
 */
const checked = runScript("nice", ["-n", "19", "npm", "run", "--silent", "check"]);
const projects = ["real", "tidy", "unit", "alone"].flatMap((name) => ["--project", name]);
const tested = await runScript("vitest", ["run", ...projects], "inherit");
const { status, said } = await checked;
process.stdout.write(said);
process.exitCode = tested.status === 0 ? status : tested.status;

interface End {
  readonly status: number;
  readonly said: string;
}

function runScript(
  command: string,
  args: readonly string[],
  output: "inherit" | "pipe" = "pipe",
): Promise<End> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", output, output] });
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
