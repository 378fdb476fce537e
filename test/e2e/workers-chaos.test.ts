import { expect, it } from "vitest";
import { WorkersChaos } from "../../bench/workers-chaos-rig.ts";

// A small form. The whole: npm run bench workers-chaos

it("runs end right although workers, the database and the pooler die", {
  timeout: 900_000,
}, async () => {
  const more = { kills: 2, halts: 1, databaseKills: 1, poolerRestarts: 1 };
  const chaos = new WorkersChaos({ workers: 3, tenants: 2, runs: 16, ...more });
  try {
    const found = await chaos.run();
    expect(found).toMatchObject({ ...more, runs: 16, completed: 16, proved: 16, wrong: [] });
  } finally {
    await chaos.close();
  }
});
