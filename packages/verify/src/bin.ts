import { main } from "./cli.ts";

// Whoever reads may stop early, as `head` does; a full disk is a failure, and no verdict was given.
process.stdout.on("error", ({ code = "unknown" }: NodeJS.ErrnoException) => {
  if (code === "EPIPE") return;
  process.stderr.write(`sovereign-verify: standard output cannot be written: ${code}\n`);
  process.exit(1);
});
process.stderr.on("error", () => {
  // There is nobody left to tell.
});

process.exitCode = await main(process.argv.slice(2));
