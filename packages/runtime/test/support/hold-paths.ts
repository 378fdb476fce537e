/** `node hold-paths.ts HOME MARK`: a control of its own, whose one path lives until it is killed. */
import { connectScram } from "../../src/main/index.ts";
import { connectSandbox } from "../../src/sandbox/index.ts";

const [, , home = "", mark = ""] = process.argv;
const link = await connectScram(home, { PATH: process.env["PATH"] });
const sandbox = connectSandbox(link, { tenant_id: "other", run_id: `run_${"c".repeat(20)}` });
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
