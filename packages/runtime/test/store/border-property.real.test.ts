import { expect, it } from "vitest";
import { attack } from "../support/hostile-tenants.ts";

it("two hostile tenants cross no border, whatever SQL they send", async () => {
  const seed = Date.now() % 1_000_000;
  const refused = await attack(400, seed).catch((error: unknown) => {
    throw new Error(`with seed ${seed}`, { cause: error });
  });
  // Most of what they try is refused; none of it is a mistake of this test alone.
  expect(Object.keys(refused).sort()).toEqual(["call", "commit", "read", "statement"]);
});
