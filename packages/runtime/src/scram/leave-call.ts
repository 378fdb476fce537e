import { unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { canonicalize } from "@sovereign/core";
import { systemEntropy } from "../system/index.ts";
import { SETTLED_FILE } from "./settled.ts";

const NUMBER_BYTES = 6;

/**
 * Leave a stop of everything for the next sentinel, which carries it out before it listens to anybody.
 * Never throws. Waits for the disk in other threads alone: whoever calls may have to die meanwhile.
 *
 * Where no call can be written, the proof is removed without which the next one has everything stopped.
 *
 * @param folder the kill switch's
 * @param why recorded with the stop
 */
export async function leaveCall(folder: string, why: string): Promise<void> {
  const number = Buffer.from(systemEntropy.bytes(NUMBER_BYTES)).readUIntBE(0, NUMBER_BYTES);
  const call = join(folder, `call.${number}`);
  const words = {
    command: "SCRAM_ACTIVATE",
    timestamp: "",
    pid: process.pid,
    reason: "system_critical",
    why,
  };
  // Nothing that stands there is written to.
  const fresh = { flag: "wx", mode: 0o600 };
  try {
    // Without its words it is a stop, too.
    await writeFile(call, `${canonicalize(words)}\n`, fresh).catch(() => undefined);
    await writeFile(`${call}.ready`, "", fresh);
  } catch {
    await unlink(join(folder, SETTLED_FILE)).catch(() => undefined);
  }
}
