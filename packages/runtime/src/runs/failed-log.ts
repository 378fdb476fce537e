import { type ArtifactRef, cutText } from "@sovereign/core";
import type { ArtifactStore } from "./artifact-store.ts";

/** What a command said that did not end well: no outcome of the kernel's names it. */
export interface FailedLog {
  readonly step: string;
  readonly ref: ArtifactRef;
  /** The last lines; untrusted. */
  readonly lines: readonly string[];
}

const LAST_LINES = 30;
const LINE_CHARS = 1000;
/** Enough for that many lines of any length that is shown. */
const LAST_BYTES = 4 * LAST_LINES * LINE_CHARS;

/** The end of a hostile log, line by line. */
export function lastLines(log: Buffer): string[] {
  const lines = log.subarray(-LAST_BYTES).toString("utf8").trimEnd().split(/\r?\n/);
  return lines.slice(-LAST_LINES).map((line) => cutText(line, LINE_CHARS));
}

interface Said {
  readonly ended: string;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

/** Standard output and then standard error, whole; where a limit cut them, the last line says so. */
export function wholeLog({ ended, stdout, stderr }: Said, outputBytesMax: number): Buffer {
  const said = Buffer.concat([stdout, stderr]);
  if (ended !== "output_limit") return said;
  const mark = `[sovereign: cut off: it said more than ${outputBytesMax} bytes, its limit]`;
  return Buffer.concat([said, Buffer.from(`\n${mark}\n`)]);
}

/** Keep all that a program of a pipeline or a command of a batch said that did not end well. */
export async function keepFailedLog(
  artifacts: ArtifactStore,
  step: string,
  end: Said,
  outputBytesMax: number,
): Promise<FailedLog> {
  const log = wholeLog(end, outputBytesMax);
  const ref = await artifacts.put(`${step}/failed.log`, log, "text/plain");
  return { step, ref, lines: lastLines(log) };
}
