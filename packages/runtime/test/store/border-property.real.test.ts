import { expect, it } from "vitest";
import { attack, HOSTILE } from "../support/hostile-tenants.ts";
import { openPooledWorld } from "../support/tenant-world.ts";

it("two hostile tenants cross no border, whatever SQL they send", async () => {
  const seed = Date.now() % 1_000_000;
  const refused = await attack(400, seed).catch((error: unknown) => {
    throw new Error(`with seed ${seed}`, { cause: error });
  });
  // Most of what they try is refused; none of it is a mistake of this test alone.
  expect(Object.keys(refused).sort()).toEqual(["call", "commit", "read", "statement"]);
});

it("nor through a pooler, where their transactions share the server's sessions", async () => {
  const seed = Date.now() % 1_000_000;
  const open = () => openPooledWorld(HOSTILE);
  const refused = await attack(120, seed, open).catch((error: unknown) => {
    throw new Error(`with seed ${seed}`, { cause: error });
  });
  expect(Object.keys(refused).sort()).toEqual(["call", "commit", "read", "statement"]);
});
