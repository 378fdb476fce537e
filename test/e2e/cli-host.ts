/**
 * `node cli-host.ts`: command lines, one after the other, in one process: for tests in which it is no
 * matter that each has its own. Reads a request a line, and answers each with a line.
 */
import { createInterface } from "node:readline";
import { runCli } from "../../packages/runtime/src/cli/index.ts";
import { createServices } from "../../packages/runtime/src/services/index.ts";

interface Request {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const answer = process.stdout.write.bind(process.stdout);
const said = { out: "", err: "" };
process.stdout.write = (text: string | Uint8Array) => keep("out", text);
process.stderr.write = (text: string | Uint8Array) => keep("err", text);

for await (const line of createInterface({ input: process.stdin })) {
  const { args, env } = JSON.parse(line) as Request;
  said.out = "";
  said.err = "";
  const code = await runCli(args, createServices(env), new AbortController().signal);
  answer(`${JSON.stringify({ code, ...said })}\n`);
}

function keep(where: "out" | "err", text: string | Uint8Array): boolean {
  said[where] += typeof text === "string" ? text : Buffer.from(text).toString("utf8");
  return true;
}
