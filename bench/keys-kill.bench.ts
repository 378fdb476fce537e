import { commandOf, type KeysKill, KeysKillRig } from "./keys-kill-rig.ts";
import type { BenchReport } from "./report.ts";

const TRIALS = Number(process.env["KEYS_KILL_TRIALS"] ?? 50);

/** kill -9 at random instants of the commands of keys: do ledger, files and the next command agree? */
export async function run(): Promise<BenchReport> {
  const rig = new KeysKillRig();
  await rig.open();
  const kills: KeysKill[] = [];
  try {
    for (let at = 0; at < TRIALS; at++) {
      const kill = await rig.kill(commandOf(at));
      kills.push(kill);
      const said = kill.wrong.length === 0 ? "ok" : `FAILED: ${kill.wrong.join("; ")}`;
      console.error(`${at + 1} ${kill.command}, left ${kill.left}: ${said}`);
    }
  } finally {
    await rig.close();
  }
  const count = (left: KeysKill["left"]): number =>
    kills.filter((kill) => kill.left === left).length;
  const values = {
    trials: kills.length,
    failures: kills.filter(({ wrong }) => wrong.length > 0).length,
    "left nothing": count("nothing"),
    "left a pending file": count("a pending file"),
    "left an enrolled key": count("an enrolled key"),
    "had ended": count("all of it"),
  };
  return { title: "Commands of keys that are killed", rows: [{ name: "kill -9", values }] };
}
