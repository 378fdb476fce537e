/**
 * `node embedding-program.ts HOME polite|stubborn|failing`: a program of others, under the switch.
 * An order that comes as a line of its input it gives itself.
 */
import { createInterface } from "node:readline";
import { parseEnvelope, parseStrictJson } from "@sovereign/core";
import { joinScram } from "../../src/home/index.ts";

const [, , home = "", manner = ""] = process.argv;
const owner = { tenant_id: "embedder", run_id: `run_${"e".repeat(20)}` };
const member = await joinScram(home, { PATH: process.env["PATH"] }, owner);
await member.registerTerminationHook("audit", () => {
  process.stdout.write("hook\n");
});
await member.registerTerminationHook("broken", () => Promise.reject(new Error("no")));
await member.registerExecutionPath("settlement", async () => {
  process.stdout.write("terminated\n");
  if (manner === "failing") throw new Error("cannot");
  if (manner === "stubborn") await new Promise(() => undefined);
});
process.stdout.write("registered\n");
for await (const line of createInterface(process.stdin)) {
  const outcome = await member.stop(parseEnvelope(parseStrictJson(Buffer.from(line))));
  const verified = outcome.kind === "stopped" ? outcome.event.scram_state : outcome.missing;
  process.stdout.write(`${outcome.kind} ${verified}\n`);
}
setInterval(() => undefined, 1000);
