import { runCli } from "../cli/index.ts";
import { createServices } from "../services/index.ts";

// Ctrl-C stops the work, which is recorded; the run can be resumed. A second one ends us at once.
const controller = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    controller.abort(new Error(signal));
  });
}
// Whoever reads our output may stop early, as `head` does: that is no failure. A full disk is one;
// the work goes on to its end all the same, because what it does is recorded elsewhere.
const unwritten: string[] = [];
process.stdout.on("error", ({ code = "unknown" }: NodeJS.ErrnoException) => {
  if (code === "EPIPE" || code === "ERR_STREAM_DESTROYED" || unwritten.length > 0) return;
  unwritten.push(code);
  process.stderr.write(`sovereign: standard output cannot be written: ${code}\n`);
});
process.stderr.on("error", () => {
  // There is nobody left to tell.
});
const words = process.argv.slice(2);
// What stands behind it belongs to the command that is run.
const end = words.indexOf("--");
const own = end < 0 ? words : words.slice(0, end);
const services = createServices(
  process.env,
  ({ folder, store }) => {
    if (!own.includes("--verbose")) return;
    process.stderr.write(`data folder: ${folder.root}\ndatabase: ${store.location}\n`);
  },
  (text) => {
    if (!own.includes("--json")) process.stderr.write(`sovereign: ${text}\n`);
  },
);
const exit = await runCli(words, services, controller.signal);
process.exitCode = exit;
process.on("exit", () => {
  if (unwritten.length > 0 && process.exitCode === 0) process.exitCode = 1;
});
