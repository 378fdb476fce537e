/**
 * `node sandbox-program.ts BACKEND SCRIPT [counted]`: run one command in a sandbox, and say how it ended and
 * what it said.
 */
import { createSandbox } from "../../src/sandbox/index.ts";

const [, , backend, script = "", memory] = process.argv;
const sandbox = createSandbox({
  backend: backend === "container" ? backend : "bubblewrap",
  requireMemoryController: memory === "counted",
});
const { ended, stdout, stderr } = await sandbox.run(
  {
    argv: ["/bin/sh", "-c", script],
    cwd: "/tmp",
    readOnly: [{ source: import.meta.filename, target: "/given" }],
    writable: [],
    env: {},
    limits: {
      wallMs: 20_000,
      cpuSeconds: 10,
      memoryBytes: 512 * 1024 * 1024,
      processes: 32,
      outputBytes: 100_000,
      fileBytes: 1_000_000,
    },
  },
  new AbortController().signal,
);
process.stdout.write(`${ended} ${Buffer.concat([stdout, stderr]).toString("utf8")}`);
