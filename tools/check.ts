import { spawn } from "node:child_process";

/**
 * Everything that is checked without running the product. The linter takes as long as all the others
 * together, so they go beside it; what each says comes whole, and the linter last.
 */
const BESIDE = [["lint"], ["types", "format:check", "layers", "dead", "docs:check"]];

const ends = (await Promise.all(BESIDE.map(oneByOne))).reverse().flat();
for (const { name, status, said } of ends) {
  process.stdout.write(`\n${name}: ${status === 0 ? "ok" : `failed (${status})`}\n${said}`);
}
process.exitCode = ends.every(({ status }) => status === 0) ? 0 : 1;

interface End {
  readonly name: string;
  readonly status: number;
  readonly said: string;
}

async function oneByOne(names: readonly string[]): Promise<End[]> {
  const done: End[] = [];
  for (const name of names) done.push(await runScript(name));
  return done;
}

function runScript(name: string): Promise<End> {
  return new Promise((resolve) => {
    const child = spawn("npm", ["run", "--silent", name], { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => (said += String(chunk)));
    }
    child.on("error", (error) => (said += error.message));
    child.on("close", (status) => {
      resolve({ name, status: status ?? -1, said });
    });
  });
}
