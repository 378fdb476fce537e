import { defineConfig } from "vitest/config";

// CI reads the counts from a file; people read the ordinary report.
const reportFile = process.env["VITEST_REPORT"];

// Three kinds, so that the fast ones can run alone. `real` starts PostgreSQL, sandboxes and CLIs.
export default defineConfig({
  test: {
    reporters:
      reportFile === undefined ? ["default"] : ["default", ["json", { outputFile: reportFile }]],
    projects: [
      {
        test: {
          name: "tidy",
          include: ["test/tidy/**/*.test.ts"],
        },
      },
      {
        test: {
          name: "unit",
          include: ["packages/*/test/**/*.test.ts"],
          exclude: ["**/*.real.test.ts"],
        },
      },
      {
        test: {
          name: "real",
          include: ["packages/*/test/**/*.real.test.ts", "test/e2e/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
