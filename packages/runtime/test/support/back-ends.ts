import { probeSandbox, type SandboxDemands } from "../../src/sandbox/index.ts";

export interface BackEnd {
  readonly backend: SandboxDemands["backend"];
  /** Why its tests are skipped, to be read in their title; null where they run. */
  readonly absent: string | null;
  readonly title: string;
}

const { container } = await probeSandbox();
const installed = container.checks[0];
// One that is installed and does not hold is a failure, not an absence.
const absent = installed?.ok === true ? null : (installed?.advice ?? "unknown");

/** Both back ends; the container's tests are skipped where it is not installed. */
export const BACK_ENDS: readonly BackEnd[] = [
  { backend: "bubblewrap", absent: null, title: "bubblewrap" },
  { backend: "container", absent, title: `a container${absent === null ? "" : ` (${absent})`}` },
];
