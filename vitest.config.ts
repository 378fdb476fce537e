import { defineConfig } from "vitest/config";

// CI reads the counts from a file; people read the ordinary report.
const reportFile = process.env["VITEST_REPORT"];

const REAL = ["packages/*/test/**/*.real.test.ts", "test/e2e/**/*.test.ts"];

/**
 * What wants the machine for itself: a stop holds itself to 500 ms, processes are frozen and counted,
 * disks run full, leases end, and runs are killed at an instant that is counted.
 */
const ALONE = [
  "packages/runtime/test/{scram,sandbox}/*.real.test.ts",
  "packages/runtime/test/http/scram-*.real.test.ts",
  "packages/runtime/test/store/{disk-full,lost-connection}.real.test.ts",
  "test/e2e/{crash,disk,exec-crash,exec-kill,exec-scram,nodes,scram,scram-http,watched-server}.test.ts",
];

// Four kinds, so that the fast ones can run alone. `real` starts PostgreSQL, sandboxes and CLIs, and
// mostly waits for them: two files at a time. `alone` does so too, when nothing else runs.
export default defineConfig({
  test: {
    reporters:
      reportFile === undefined ? ["default"] : ["default", ["json", { outputFile: reportFile }]],
    projects: [
      {
        test: {
          name: "tidy",
          include: ["test/tidy/**/*.test.ts"],
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: "unit",
          include: ["packages/*/test/**/*.test.ts"],
          exclude: ["**/*.real.test.ts"],
          // A bound on what hangs, not on speed: a busy machine fails no test.
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: "real",
          include: REAL,
          exclude: ALONE,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: "alone",
          include: ALONE,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
