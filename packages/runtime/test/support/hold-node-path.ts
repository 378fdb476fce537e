/** `node hold-node-path.ts HOME URL MARK`: a control of its own on a shared database, with one path. */
import { openInstallation } from "../../src/main/index.ts";
import { connectSandbox } from "../../src/sandbox/index.ts";

const [, , home = "", databaseUrl = "", mark = ""] = process.argv;
const environment = { PATH: process.env["PATH"] };
const installation = await openInstallation({ home, databaseUrl, passphrase: null, environment });
const sandbox = connectSandbox(await installation.guard(), {
  tenant_id: "other",
  run_id: `run_${"c".repeat(20)}`,
});
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
