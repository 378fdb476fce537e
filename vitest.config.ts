import { defineConfig } from "vitest/config";

// Three kinds, so that the fast ones can run alone. `real` starts PostgreSQL, sandboxes and CLIs.
export default defineConfig({
  test: {
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
