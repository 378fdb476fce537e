import { relative } from "node:path";

/** What we read of Vitest's report in JSON. */
export interface Report {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly FileResult[];
}

interface FileResult {
  /** The file's absolute path. */
  readonly name: string;
  readonly status: "passed" | "failed";
  readonly assertionResults: readonly { readonly status: string }[];
}

/** With more of them than these, it is not the crowd. */
const AGAIN_MAX = 3;
/** Tests of real processes: other tests have nothing that a crowd could starve. */
const REAL = /\.real\.test\.ts$|^test\/e2e\//;

/**
 * The files that are worth another try: few, and of real processes alone, of which a busy machine can
 * starve some.
 *
 * @returns their paths below the root; none where anything else failed, too
 */
export function triedAgain(report: Report | null, root: string): string[] {
  const failed = (report?.testResults ?? []).filter(({ status }) => status === "failed");
  const paths = failed.map(({ name }) => relative(root, name));
  return paths.length <= AGAIN_MAX && paths.every((path) => REAL.test(path)) ? paths : [];
}

/** The first report, with the second's results in the place of the same files'. */
export function replaceFiles(first: Report | null, second: Report | null): Report | null {
  if (first === null || second === null) return first;
  const anew = new Map(second.testResults.map((result) => [result.name, result]));
  const results = first.testResults.map((result) => anew.get(result.name) ?? result);
  const count = (status: string): number =>
    results.flatMap((one) => one.assertionResults).filter((one) => one.status === status).length;
  return {
    success: results.every(({ status }) => status === "passed"),
    numPassedTests: count("passed"),
    numFailedTests: count("failed"),
    testResults: results,
  };
}
