import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import * as api from "../src/index.ts";
import { later, lookAlikes } from "./support/look-alikes.ts";
import { copyCluster } from "./support/prepared.ts";

const home = mkdtempSync(join(tmpdir(), "sov-made-"));
type Installation = Awaited<ReturnType<typeof api.openInstallation>>;
let installation: Installation;
beforeAll(async () => {
  copyCluster(join(home, "postgres"));
  installation = await api.openInstallation({ home, databaseUrl: null, passphrase: null });
});
afterAll(async () => {
  await installation.close();
  rmSync(home, { recursive: true, force: true });
});

const text = "policy_id: p\nschema_version: 1.0.0\noperations: [model.train]\n";
const policy = api.parsePolicy(Buffer.from(text), "policy.yaml");

/** What each door is given beside the installation. */
const rest = {
  ...{ tenantId: "acme", approvers: [], allowCompatible: false, waitMs: 0 },
  ...{ policy, role: "r", input: null, name: "n", mode: "sovereign", faults: [] },
  ...{ pipeline: join(home, "none.yaml"), signal: new AbortController().signal },
  onProgress: (): undefined => undefined,
};
const doors: readonly [string, (options: never) => unknown][] = [
  ["batches", (options) => new api.SovereignRunner(options)],
  ["sessions of agents", api.createAgentSession],
  ["pipelines", api.submitPipeline],
  ["runs that are gone on with", (options) => api.resumeRun(options, `run_${"a".repeat(20)}`)],
];

it.each(doors)("%s are carried out under what was opened here alone", async (_name, enter) => {
  const away = { ...installation, guard: () => Promise.resolve({ preflight: () => true }) };
  const before = await installation.store.listRuns("acme", { limit: 9, status: null, kind: null });
  for (const [what, one] of [...lookAlikes(installation), ["one of its own", away] as const]) {
    const entered = later(() => enter({ ...rest, installation: one } as never));
    await expect(entered, what).rejects.toThrow("Expected an installation that the runtime made");
  }
  // One that is another at the second look.
  let looks = 0;
  const turns = {
    ...rest,
    get installation(): unknown {
      return looks++ === 0 ? away : installation;
    },
  };
  await expect(later(() => enter(turns as never))).rejects.toThrow("Expected an installation");
  // The genuine one is let in: what is refused then is something else, or nothing.
  const genuine = later(() => enter({ ...rest, installation } as never));
  const said = await genuine.then(() => "", String);
  expect(said).not.toContain("Expected an installation");
  const after = await installation.store.listRuns("acme", { limit: 9, status: null, kind: null });
  expect(after).toEqual(before);
});
