/**
 * A program of your own under the kill switch: `node examples/embed-scram/embed-scram.ts`.
 *
 * It settles payments in its own process, registered as an execution path. Somebody stops everything
 * with the signal file; the handler ends the work, and nothing begins any more.
 */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { joinScram } from "@sovereign/runtime";

const home = mkdtempSync(join(tmpdir(), "sovereign-embed-scram-"));
const owner = { tenant_id: "acme", run_id: `run_${"s".repeat(20)}` };
const member = await joinScram(home, { PATH: "/usr/bin:/bin" }, owner);

const work = new AbortController();
await member.registerExecutionPath("settlement", () => {
  work.abort();
});
await member.registerTerminationHook("pager", () => {
  console.log("hook: everything was stopped");
});

let settled = 0;
const settling = (async () => {
  while (!work.signal.aborted && member.preflight().armed) {
    settled += 1;
    await sleep(10);
  }
})();

await sleep(100);
console.log(`armed: ${member.preflight().armed}, settled some: ${settled > 0}`);

// What `scram` does: a file that appears whole.
const signal = {
  command: "SCRAM_ACTIVATE",
  timestamp: "",
  pid: process.pid,
  reason: "security_breach",
};
writeFileSync(join(home, "scram", "new"), JSON.stringify(signal), { mode: 0o600 });
renameSync(join(home, "scram", "new"), join(home, "scram", "signal"));

await settling;
await sleep(300);
console.log(`stopped: ${work.signal.aborted}, armed: ${member.preflight().armed}`);
const refused = await member
  .registerExecutionPath("another", () => undefined)
  .then(
    () => "admitted",
    (error: unknown) => (error as { code: string }).code,
  );
console.log(`another path: ${refused}`);
member.close();
await sleep(2500);
rmSync(home, { recursive: true, force: true });
