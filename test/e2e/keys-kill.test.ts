import { afterAll, beforeAll, expect, it } from "vitest";
import { commandOf, KeysKillRig } from "../../bench/keys-kill-rig.ts";

// A few random instants. More of them, of every command: KEYS_KILL_TRIALS=60 npm run bench -- keys-kill

const rig = new KeysKillRig();
beforeAll(() => rig.open());
afterAll(() => rig.close());

it.each([0, 1, 4].map((at) => commandOf(at)))(
  "keys %s that is killed leaves ledger, files and the next command in agreement",
  async (command) => {
    expect(await rig.kill(command)).toMatchObject({ command, wrong: [] });
  },
);
