import { probeSandbox, type SandboxDemands } from "../../src/sandbox/index.ts";

export interface BackEnd {
  readonly backend: SandboxDemands["backend"];
  /** What to type where it is not installed; null where it is. */
  readonly absent: string | null;
  readonly title: string;
}

const { container } = await probeSandbox();
const installed = container.checks[0];
// One that is installed and does not hold is a failure, not an absence.
const absent = installed?.ok === true ? null : (installed?.advice ?? "unknown");

/** Both back ends: tests of one that is not installed fail, and say what to type. */
export const BACK_ENDS: readonly BackEnd[] = [
  { backend: "bubblewrap", absent: null, title: "bubblewrap" },
  { backend: "container", absent, title: "a container" },
];

/** @throws with the command that installs it */
export function requireInstalled(absent: BackEnd["absent"]): void {
  if (absent !== null) throw new Error(`the container back end cannot be tested: ${absent}`);
}
