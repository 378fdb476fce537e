import { startToolRun } from "../process/index.ts";
import { isInstalled, SYSTEM_PATH } from "./launcher.ts";

/** A program that can run containers, whether it is here, and whether we drive it. */
export interface ContainerProgram {
  readonly name: string;
  /** As it says itself; null where it is not installed. */
  readonly version: string | null;
  readonly used: boolean;
  readonly detail: string;
}

/**
 * Why each is driven or not. Measured with podman 4.3.1: its monitor, conmon, becomes a child of
 * process 1, and the container outlives podman and whoever started it when both are killed; a path
 * must die with the engine by the kernel's hand. What podman itself drives is crun, or runc.
 */
const PROGRAMS = [
  { name: "crun", used: true, why: "the container back end drives it" },
  {
    name: "podman",
    used: false,
    why: "its monitor outlives the engine, and so would a command; the runtime below it, crun, is driven directly",
  },
  { name: "runc", used: false, why: "the container back end drives crun alone" },
] as const;

/** Which programs for containers are here, and what becomes of each. */
export function findContainerPrograms(searchPath = SYSTEM_PATH): Promise<ContainerProgram[]> {
  return Promise.all(
    PROGRAMS.map(async ({ name, used, why }) => {
      const version = isInstalled(name, searchPath) ? await versionOf(name, searchPath) : null;
      const absent = used ? `not installed: ${why}` : "not installed, and not needed";
      return {
        name,
        version,
        used: used && version !== null,
        detail: version === null ? absent : why,
      };
    }),
  );
}

async function versionOf(name: string, searchPath: string): Promise<string> {
  const end = await startToolRun("container-program", name, ["--version"], {
    env: { PATH: searchPath, HOME: "/nonexistent", LC_ALL: "C" },
    cwd: "/",
    stdoutBytesMax: 64 * 1024,
    timeoutMs: 10_000,
  });
  const said = Buffer.from(end.stdout).toString("latin1");
  return /(?<!\d)\d+\.\d[\w.+~-]*/.exec(said)?.[0] ?? "of a version that it does not say";
}
