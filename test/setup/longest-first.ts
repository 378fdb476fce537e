import { BaseSequencer, type TestSpecification } from "vitest/node";

/** What takes longest, slowest first: begun last, one of them would be waited for alone. */
const LONGEST = [
  "exec-crash.test.ts",
  "nodes.test.ts",
  "nodes.real.test.ts",
  "disk.test.ts",
  "iron-path.test.ts",
  "gates.test.ts",
  "scram.test.ts",
  "watched-server.test.ts",
  "commands.test.ts",
  "exec.test.ts",
  "hostile.real.test.ts",
  "silent-server.real.test.ts",
  "scram-http.real.test.ts",
  "iron-path-programs.real.test.ts",
  "scram-faults.real.test.ts",
  "exec-kill.test.ts",
  "exec-outside.test.ts",
  "memory.real.test.ts",
  "scram-http.test.ts",
];

/** Vitest's own order, the longest files of each project first. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = LONGEST.findIndex((name) => moduleId.endsWith(`/${name}`));
      return at < 0 ? LONGEST.length : at;
    };
    const groups = Map.groupBy(sorted, ({ project }) => project.name);
    return [...groups.values()].flatMap((group) => group.sort((a, b) => rank(a) - rank(b)));
  }
}
