/**
 * `node hold-paths.ts HOME MARK [DATABASE_URL]`: a control of its own, whose one path lives until it
 * is killed; with a URL it is one of an installation on that database.
 */
import { connectScram } from "../../src/home/index.ts";
import { openInstallation } from "../../src/installation/index.ts";
import { connectSandbox } from "../../src/sandbox/index.ts";
import type { ScramLink } from "../../src/scram/index.ts";

const [, , home = "", mark = "", databaseUrl] = process.argv;
const environment = { PATH: process.env["PATH"] };

async function guard(): Promise<ScramLink> {
  if (databaseUrl === undefined) return connectScram(home, environment);
  const opened = await openInstallation({ home, databaseUrl, passphrase: null, environment });
  return opened.guard();
}

const sandbox = connectSandbox(await guard(), {
  tenant_id: "other",
  run_id: `run_${"c".repeat(20)}`,
});
setTimeout(() => process.stdout.write("held\n"), 1500);
await sandbox.run(
  {
    argv: ["/bin/sh", "-c", "trap '' TERM HUP; while :; do sleep 1000; done", `drill-${mark}`],
    cwd: "/tmp",
    readOnly: [],
    writable: [],
    env: {},
    limits: {
      wallMs: 600_000,
      cpuSeconds: 600,
      memoryBytes: 256 * 1024 * 1024,
      processes: 16,
      outputBytes: 1024,
      fileBytes: 1024,
    },
  },
  new AbortController().signal,
);
