import { SovereignError } from "@sovereign/core";
import type { SandboxLimits } from "./types.ts";

const MEBIBYTE = 1024 * 1024;

/**
 * What a path may own besides memory and processes. The kernel frees all of it before the path's last
 * process is dead, so each bound is a bound on the time that a stop takes. A policy may ask for less,
 * or for more up to `most`, which is what was measured to be freed in time.
 */
export const HOLDINGS = {
  /** Files, folders and links in /tmp and the home folder together: `nr_inodes` of their tmpfs. */
  temporaryFiles: { usual: 24_576, most: 57_344 },
  /** Kernel memory: mappings, page tables, descriptors, sockets, watches and whatever else. */
  kernelBytes: { usual: 64 * MEBIBYTE, most: 72 * MEBIBYTE },
} as const;

/** What a command's memory is limited to where nobody says. */
const USUAL_MEMORY_BYTES = 2048 * MEBIBYTE;
/** Record locks (`fcntl`) of all processes of a path together. */
export const FILE_LOCKS = 8192;
/** In /dev/shm. */
export const SHM_FILES = 1024;
export const TMP_BYTES = 512 * MEBIBYTE;
export const SHM_BYTES = 16 * MEBIBYTE;
/** Of each process. */
export const OPEN_FILES = 1024;

/** What a death takes, as it was measured or is assumed. */
export interface DeathCosts {
  /** What all paths together may take to free, of the 500 ms. */
  readonly budgetMs: number;
  readonly pathMs: number;
  readonly kernelMsPerMebibyte: number;
  readonly memoryMsPerMebibyte: number;
  readonly msPerFileLock: number;
}

/**
 * Of two cores: files, mappings and memory files take 2 to 2.4 ms for each mebibyte of kernel memory,
 * epoll nests 4.2 to 4.7, processes, sockets and pipes below 1. The engine cannot tell these apart, so
 * it counts 3.2, and the budget leaves room for what epolls take beyond. Memory of a process takes
 * 70 ms for each gibibyte, a thousand record locks 0.7 ms. Beside eight busy processes all of it takes
 * a third longer.
 */
export const DEATH_COSTS: DeathCosts = {
  budgetMs: 240,
  pathMs: 1,
  kernelMsPerMebibyte: 3.2,
  memoryMsPerMebibyte: 0.07,
  msPerFileLock: 0.0007,
};

/** Limits in which nothing is left to be assumed. */
export type PathLimits = Required<SandboxLimits>;

/**
 * The limits of a path, those that nobody asked for too.
 *
 * @throws ERR_SANDBOX_REQUEST for more than a stop has time for
 */
export function pathLimits(limits: SandboxLimits): PathLimits {
  return {
    ...limits,
    temporaryFiles: bound(limits, "temporaryFiles"),
    kernelBytes: bound(limits, "kernelBytes"),
  };
}

/**
 * How many paths of usual limits one counts as, when the engine decides how many live at once: what
 * its limits let it own takes as long to free as what theirs do.
 */
export function pathWeight({ kernelBytes, memoryBytes }: PathLimits): number {
  const { kernelMsPerMebibyte, memoryMsPerMebibyte } = DEATH_COSTS;
  const worst = (kernel: number, memory: number): number =>
    (kernel * kernelMsPerMebibyte + memory * memoryMsPerMebibyte) / MEBIBYTE;
  const usual = worst(HOLDINGS.kernelBytes.usual, USUAL_MEMORY_BYTES);
  return Math.max(1, worst(kernelBytes, memoryBytes) / usual);
}

function bound(limits: SandboxLimits, name: keyof typeof HOLDINGS): number {
  const { usual, most } = HOLDINGS[name];
  const value = limits[name] ?? usual;
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value;
  throw new SovereignError(
    "ERR_SANDBOX_REQUEST",
    `The sandbox expects ${name} from 1 to ${most}, found ${value}: more could not be freed in time by a stop.`,
  );
}
