import { BaseSequencer, type TestSpecification } from "vitest/node";

/** What takes longest, slowest first: begun last, one of them would be waited for alone. */
const LONGEST = [
  "agent-killed.real.test.ts",
  "agent.test.ts",
  "workers.test.ts",
  "workers-chaos.test.ts",
  "workers-shared.test.ts",
  "iron-path.test.ts",
  "claude.real.test.ts",
  "pipeline-kill.test.ts",
  "nodes.real.test.ts",
  "nodes.test.ts",
  "memory.real.test.ts",
  "packages.test.ts",
  "exec-crash.test.ts",
  "planner.real.test.ts",
  "acp.real.test.ts",
  "ci-files.real.test.ts",
  "secrets.real.test.ts",
  "serve.test.ts",
  "keys-in-force.real.test.ts",
  "iron-path-programs.real.test.ts",
  "agent-doctor.real.test.ts",
  "budgets.real.test.ts",
  "database-url.test.ts",
  "agent-packs.test.ts",
  "hostile.real.test.ts",
  "scram-http.real.test.ts",
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
