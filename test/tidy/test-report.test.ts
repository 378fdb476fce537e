import { describe, expect, it } from "vitest";
import { type Report, replaceFiles, triedAgain } from "../../tools/test-report.ts";

type Result = Report["testResults"][number];

const result = (path: string, ...statuses: string[]): Result => ({
  name: `/root/${path}`,
  status: statuses.includes("failed") ? "failed" : "passed",
  assertionResults: statuses.map((status) => ({ status })),
});
const report = (...testResults: Result[]): Report => ({
  success: testResults.every(({ status }) => status === "passed"),
  numPassedTests: 0,
  numFailedTests: 0,
  testResults,
});
const failed = (...paths: string[]): Report =>
  report(...paths.map((path) => result(path, "failed")), result("a.test.ts", "passed"));

describe("a second try", () => {
  it("is for few files, of real processes alone", () => {
    const [one, two] = ["packages/runtime/test/a.real.test.ts", "test/e2e/b.test.ts"];
    expect(triedAgain(failed(one, two), "/root")).toEqual([one, two]);
    expect(triedAgain(failed(), "/root")).toEqual([]);
    expect(triedAgain(null, "/root")).toEqual([]);
    expect(triedAgain(failed(one, "packages/core/test/c.test.ts"), "/root")).toEqual([]);
    const many = ["1", "2", "3", "4"].map((name) => `test/e2e/${name}.test.ts`);
    expect(triedAgain(failed(...many), "/root")).toEqual([]);
  });

  it("counts in the place of the first, and only for its own files", () => {
    const first = report(
      result("a.real.test.ts", "passed", "failed"),
      result("b.real.test.ts", "passed", "skipped"),
    );
    const healed = replaceFiles(first, report(result("a.real.test.ts", "passed", "passed")));
    expect(healed).toMatchObject({ success: true, numPassedTests: 3, numFailedTests: 0 });
    const same = replaceFiles(first, report(result("a.real.test.ts", "passed", "failed")));
    expect(same).toMatchObject({ success: false, numPassedTests: 2, numFailedTests: 1 });
    expect(replaceFiles(first, null)).toBe(first);
  });
});
