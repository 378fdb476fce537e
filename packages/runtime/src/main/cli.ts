import { runCli } from "../cli/index.ts";
import { createServices } from "./services.ts";

// Ctrl-C stops the work, which is recorded; the run can be resumed. A second one ends us at once.
const controller = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    controller.abort(new Error(signal));
  });
}
// Whoever reads our output may stop early, as `head` does: that is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});
const words = process.argv.slice(2);
const services = createServices(process.env, ({ folder, store }) => {
  if (!words.includes("--verbose")) return;
  process.stderr.write(`data folder: ${folder.root}\ndatabase: ${store.location}\n`);
});
process.exitCode = await runCli(words, services, controller.signal);
