import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { joinScram } from "../../src/home/index.ts";
import { repairScram } from "../../src/services/scram/repair-journal.ts";
import { stopByCall } from "../../src/services/scram/stop-by-call.ts";
import { closeSockets, contentOf, RUBBISH } from "../support/rubbish.ts";
import { ENVIRONMENT, OWNER, pidsOf, rig, stateOf } from "../support/scram-rig.ts";
import { serve } from "../support/scram-server.ts";

/** All that the kill switch can do without, or make anew. */
const PLACES = [
  "config.yaml",
  "installation.json",
  "runs",
  "registry",
  "postgres",
  "ledger",
  "scram/LATCH.spare",
  "scram/LATCH.spare-2",
  "scram/LATCH.new",
  "scram/answer.spare",
  "scram/capacity.json",
  "scram/engine.log",
  "scram/engine.sock",
  "scram/rooms",
  "scram/sentinel.log",
  "scram/sentinel.sock",
];
const KINDS = ["half a file", "a link to a pipe", "a folder"];

afterEach(closeSockets);

it.each(RUBBISH.filter(({ name }) => KINDS.includes(name)))(
  "with $name in every place it stops, is repaired, is served and is reset",
  async ({ make }) => {
    const one = await rig();
    process.kill((await pidsOf(one.link)).pid, "SIGKILL");
    while (one.link.alive) await sleep(10);
    for (const place of PLACES) {
      const path = join(one.home, place);
      const before = contentOf(path);
      rmSync(path, { recursive: true, force: true });
      await make(path, before);
    }
    const { event } = (await stopByCall(one.home, ENVIRONMENT, one.order())) as {
      event: { scram_state: string };
    };
    expect(event.scram_state).toBe("COMPLETE");
    expect(await stateOf(one)).toBe("COMPLETE");
    const server = await serve(one);
    await server.end();
    await one.reset();
    expect(await stateOf(one)).toBe("ARMED");
    const member = await joinScram(one.home, ENVIRONMENT, OWNER);
    member.close();
    await expect(repairScram(one.home, ENVIRONMENT)).resolves.toMatchObject({ repaired: false });
  },
);

it("with a second name for each of its files, and without rights, it stops and is reset", async () => {
  const one = await rig();
  process.kill((await pidsOf(one.link)).pid, "SIGKILL");
  while (one.link.alive) await sleep(10);
  const [scram, backup] = [join(one.home, "scram"), join(one.home, "backup")];
  // As a backup by links leaves it.
  execFileSync("cp", ["-al", scram, backup]);
  const before = readFileSync(join(backup, "journal.jsonl"));
  for (const path of [join(scram, "sentinel.log"), scram]) chmodSync(path, 0);
  const { event } = (await stopByCall(one.home, ENVIRONMENT, one.order())) as {
    event: { scram_state: string };
  };
  expect(event.scram_state).toBe("COMPLETE");
  // An ordinary user's sentinel can write to it again.
  expect(statSync(scram).mode & 0o777).toBe(0o700);
  await one.reset();
  expect(await stateOf(one)).toBe("ARMED");
  expect(readFileSync(join(backup, "journal.jsonl"))).toEqual(before);
});
