import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ServerEvent } from "../../../src/services/index.ts";
import { type ApiRig, openApiRig } from "../../support/api-rig.ts";

let rig: ApiRig;
let acme: string;
beforeAll(async () => {
  rig = await openApiRig();
  acme = await rig.tokenOf("acme");
});
afterAll(() => rig.close());

const RUN = "run_aaaaaaaaaaaaaaaaaaaa";

/** A run that looks as if a server had left it, with bytes that are no entry. */
async function leaveBadRun(tenant: string, runId: string): Promise<void> {
  mkdirSync(rig.installation.folder.run(runId), { recursive: true });
  const plan = Buffer.from('{"kind":"goal"}');
  await rig.owner.query(
    "insert into sovereign.runs (run_id, log_id, name, mode, status, plan, plan_digest) values ($1, $2, 'n', 'sovereign', 'running', $3, $4)",
    [runId, tenant, plan, "0".repeat(64)],
  );
  const bytes = Buffer.from("x");
  await rig.owner.query(
    "insert into sovereign.entries (log_id, index, stream, sequence, hash, bytes) select $1, coalesce(max(index) + 1, 0), $2, 0, $3, $4 from sovereign.entries where log_id = $1",
    [tenant, runId, createHash("sha256").update(bytes).digest(), bytes],
  );
}

/** What was told from here on. */
async function recovered(): Promise<ServerEvent[]> {
  const before = rig.events.length;
  await rig.api.recover(new AbortController().signal);
  return rig.events.slice(before);
}

describe("what a server left", () => {
  it("is gone on with, whatever the rows of another tenant say", async () => {
    rig.answer = (_url, response) => response.destroy();
    const step = { id: "send", skill: "http_call" };
    const call = { ...step, with: { url: `http://${rig.host}/send`, method: "POST" } };
    const body = { goal: "Send it.", agent_id: "bot", plan: { steps: [call] } };
    const good = await rig.carryOut(acme, body);
    await leaveBadRun("acme", RUN);
    await leaveBadRun("globex", RUN.replaceAll("a", "b"));
    const told = await recovered();
    const ends = told.filter(({ event }) => event === "run.lost" || event === "run.recovered");
    expect(ends).toEqual(
      expect.arrayContaining([
        { event: "run.recovered", tenant: "acme", run: good, why: null },
        { ...{ event: "run.lost", tenant: "acme", run: RUN }, why: expect.any(String) as string },
        expect.objectContaining({ event: "run.lost", tenant: "globex" }),
      ]),
    );
  });

  it("is told where the rows of a tenant cannot be read at all", async () => {
    await rig.owner.query("alter table sovereign.runs rename column created_at to made_at");
    try {
      expect(await recovered()).toEqual([
        expect.objectContaining({ event: "run.lost", tenant: "acme", run: null }),
        expect.objectContaining({ event: "run.lost", tenant: "globex", run: null }),
      ]);
    } finally {
      await rig.owner.query("alter table sovereign.runs rename column made_at to created_at");
    }
  });
});
