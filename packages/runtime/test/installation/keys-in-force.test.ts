import type { KeyPurpose } from "@sovereign/core";
import { expect, it } from "vitest";
import { requireEndKeys, requireRunKeys } from "../../src/installation/keys-in-force.ts";
import { World } from "../support/world.ts";

/** Whether a run lacks the key when it begins, and when it is sealed. */
const PURPOSES: readonly [KeyPurpose, boolean][] = [
  ["config", false],
  ["binding", false],
  ["attestation", false],
  ["seal", true],
  ["checkpoint", true],
  ["sentinel", true],
];

it.each(PURPOSES)("a run needs the %s key to begin, and to end: %s", async (purpose, toEnd) => {
  const world = await World.create();
  try {
    const { keyLog, keystore, authority } = world;
    const slot = { purpose, role: null };
    const lacking = {
      code: "ERR_KEY_NOT_IN_FORCE",
      exitCode: 1,
      message: expect.stringContaining(`sovereign keys replace ${purpose}`) as string,
    };
    const soon = new Date(world.clock.ms + 1000).toISOString();
    const ways: readonly (() => Promise<unknown>)[] = [
      () => keyLog.revoke(keystore, world.keyIdOf(purpose), "stolen", false),
      async () => {
        await keyLog.replace(keystore, { ...slot, notAfter: soon }, "short");
        world.clock.ms += 2000;
      },
    ];
    for (const end of ways) {
      await end();
      await expect(requireRunKeys(world, authority)).rejects.toMatchObject(lacking);
      const ending = requireEndKeys(world, authority);
      if (toEnd) await expect(ending).rejects.toMatchObject(lacking);
      else await ending;
      await keyLog.replace(keystore, slot, "replaced");
      await requireRunKeys(world, authority);
      await requireEndKeys(world, authority);
    }
  } finally {
    world.dispose();
  }
});
