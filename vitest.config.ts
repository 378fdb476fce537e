import { resolve } from "node:path";
import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/setup/longest-first.ts";
import { SlowestFiles } from "./test/setup/slowest-files.ts";

// CI reads the counts from a file; people read the ordinary report.
const reportFile = process.env["VITEST_REPORT"];
const reporters = ["default", new SlowestFiles()] as const;

const REAL = ["packages/*/test/**/*.real.test.ts", "test/e2e/**/*.test.ts"];

/**
 * What wants the machine for itself: paths that take as much of it as they are let, many at a time,
 * processes of the kill switch that are frozen, and workers that are killed while others take over.
 */
const ALONE = [
  "packages/runtime/test/**/{scram,scram-wedge,holdings}.real.test.ts",
  "test/e2e/workers-chaos.test.ts",
];

/** What a busy machine starves: a start of this program takes ten seconds of a processor. */
const STARVED = ["packages/runtime/test/coding/opencode.real.test.ts"];

/** A bound on what hangs, not on speed: a busy machine fails no test. */
const PATIENT = { testTimeout: 120_000, hookTimeout: 120_000 } as const;
/** Whole pipelines in sandboxes: beside ten others' work one takes two minutes. */
const MORE_PATIENT = { testTimeout: 600_000, hookTimeout: 600_000 } as const;
const TEMPORARY_FOLDER = { globalSetup: "test/setup/temporary-folder.ts" } as const;
/** For the programs that tests start: what Node compiled of our sources is kept for the next one. */
const COMPILED = { env: { NODE_COMPILE_CACHE: resolve("node_modules/.cache/compiled") } } as const;
/** `real` starts PostgreSQL, sandboxes and CLIs, and mostly waits for them: one more than there are cores. */
const SHARED = { maxWorkers: 3 } as const;

// Four kinds, so that the fast ones can be run by themselves. All but `alone` share the machine.
export default defineConfig({
  test: {
    reporters:
      reportFile === undefined
        ? [...reporters]
        : [...reporters, ["json", { outputFile: reportFile }]],
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: "real",
          ...MORE_PATIENT,
          ...TEMPORARY_FOLDER,
          ...COMPILED,
          ...SHARED,
          include: REAL,
          exclude: [...ALONE, ...STARVED],
        },
      },
      {
        test: {
          name: "tidy",
          ...SHARED,
          include: ["test/tidy/**/*.test.ts"],
        },
      },
      {
        test: {
          name: "unit",
          ...PATIENT,
          ...TEMPORARY_FOLDER,
          ...SHARED,
          include: ["packages/*/test/**/*.test.ts"],
          exclude: ["**/*.real.test.ts"],
          // They share a worker's modules, which takes longer to load than most of them to run.
          isolate: false,
        },
      },
      {
        test: {
          name: "alone",
          ...MORE_PATIENT,
          ...TEMPORARY_FOLDER,
          ...COMPILED,
          include: ALONE,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "agents",
          ...MORE_PATIENT,
          ...TEMPORARY_FOLDER,
          ...COMPILED,
          include: STARVED,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
