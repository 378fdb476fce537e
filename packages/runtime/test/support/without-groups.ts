import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect } from "vitest";
import { systemClock } from "../../src/system/index.ts";
import type { DrillRig } from "../../src/services/index.ts";
import { programCommand } from "../../src/home/sentinel-process.ts";
import { connectSandbox } from "../../src/sandbox/index.ts";
import { ScramLink } from "../../src/scram/index.ts";
import { children, ENVIRONMENT, OWNER, pidsOf, quiet, rig, trivial } from "./scram-rig.ts";

const HANG_MS = 20_000;

export interface Ungrouped {
  readonly one: DrillRig;
  readonly link: ScramLink;
  /** Rejects when its one path is dead. */
  readonly ended: Promise<unknown>;
}

/**
 * A sentinel that sees no control groups, for it is in a mount namespace that has none, with one
 * path that is admitted and will not die by itself. As root alone.
 */
export async function holdWithoutGroups(): Promise<Ungrouped> {
  const one = await rig();
  process.kill((await pidsOf(one.link)).pid, "SIGKILL");
  await expect.poll(() => one.link.alive, { timeout: HANG_MS }).toBe(false);
  const hidden = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"';
  const command = [...programCommand("sentinel"), one.home];
  children.push(
    spawn("unshare", ["-m", "sh", "-c", hidden, "sh", ...command], {
      env: ENVIRONMENT,
      stdio: "ignore",
    }),
  );
  // One that we started by ourselves, and no other.
  const start = (): null => null;
  const link = await ScramLink.connect({
    folder: join(one.home, "scram"),
    clock: systemClock,
    start,
  });
  expect(await link.request({ t: "status" })).toMatchObject({ level: "G2" });
  const script = `trap '' TERM; (setsid sleep ${one.mark} &); while :; do sleep ${one.mark}; done`;
  const { limits } = trivial("");
  const request = { ...trivial(script), limits: { ...limits, wallMs: 600_000 } };
  const ended = connectSandbox(link, OWNER).run(request, quiet);
  ended.catch(() => undefined);
  const admitted = async (): Promise<boolean> => (await pidsOf(link)).paths === 1;
  await expect.poll(admitted, { timeout: HANG_MS }).toBe(true);
  return { one, link, ended };
}
