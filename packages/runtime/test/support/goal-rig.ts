import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { type Installation, openInstallation } from "../../src/installation/index.ts";
import { Settings } from "../../src/home/index.ts";
import { type GoalRunInput, goalServices } from "../../src/services/goals/goal-services.ts";
import { budgetServices } from "../../src/services/budgets/budget-services.ts";
import { incidentServices } from "../../src/services/incidents/incident-services.ts";
import type { Opened } from "../../src/services/opened.ts";
import { runServices } from "../../src/services/runs/run-services.ts";
import { createServices, type RunReport, type Services } from "../../src/services/index.ts";
import { ownerConfig, startEmbedded } from "../../src/store/embedded.ts";
import { copyCluster } from "./prepared.ts";

/** An installation that runs goals, the owner of its database, and a server that steps call. */
export interface GoalRig {
  readonly home: string;
  readonly services: Services;
  readonly installation: Installation;
  readonly owner: pg.Client;
  readonly host: string;
  /** What the server answers; until somebody sets it, the request's path as JSON. */
  answer: (url: string, response: ServerResponse) => void;
  planFile(steps: readonly object[], more?: object): string;
  /** @param plan null for the stub's */
  runGoal(plan: string | null, more?: Partial<GoalRunInput>): Promise<RunReport>;
  close(): Promise<void>;
}

export function answerJson(url: string, response: ServerResponse): void {
  response.setHeader("content-type", "application/json").end(JSON.stringify({ url }));
}

type Store = Installation["store"];

/**
 * @param passphraseFile the installation's passphrase; none without it
 * @param between what is called of the store in the place of its own
 */
export async function openGoalRig({
  passphraseFile,
  between = () => ({}),
}: {
  passphraseFile?: string;
  between?: (store: Store) => Partial<Store>;
} = {}): Promise<GoalRig> {
  const home = mkdtempSync(join(tmpdir(), "sov-goal-"));
  copyCluster(join(home, "postgres"));
  const environment = {
    ...{ PATH: process.env["PATH"], SOVEREIGN_HOME: home, HOME: home },
    ...(passphraseFile === undefined ? {} : { SOVEREIGN_PASSPHRASE_FILE: passphraseFile }),
  };
  const passphrase = passphraseFile === undefined ? null : readFileSync(passphraseFile, "utf8");
  const made = await openInstallation({ home, databaseUrl: null, passphrase, environment });
  const installation = { ...made, store: storeWith(made.store, between(made.store)) };
  // One installation for all: to open it for each call takes longer than most calls.
  const opened: Opened = (work) => work(installation);
  const settings = new Settings(environment);
  const services = {
    ...createServices(environment),
    ...runServices(settings, opened),
    ...goalServices(settings, opened),
    ...incidentServices(opened),
    ...budgetServices(opened),
  };
  const owner = new pg.Client(ownerConfig(await startEmbedded(join(home, "postgres"))));
  await owner.connect();
  const server = createServer((request, response) => {
    rig.answer(request.url ?? "", response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const policyFile = join(home, "policy.json");
  writeFileSync(policyFile, JSON.stringify(policyFor(host)));
  const rig: GoalRig = {
    home,
    services,
    installation,
    owner,
    host,
    answer: answerJson,
    planFile: (steps, more = {}) => {
      const path = join(home, "plan.json");
      writeFileSync(path, JSON.stringify({ steps, ...more }));
      return path;
    },
    runGoal: (plan, more = {}) =>
      services.runGoal({
        tenantId: "acme",
        approvers: [],
        signal: new AbortController().signal,
        onProgress: () => undefined,
        goal: `look at http://${host}/first`,
        agentId: "46f4830d-e2e0-4a0a-aba4-d2741abd2ae1",
        originSystemId: "billing",
        planFile: plan,
        planner: plan === null ? "stub" : "file",
        policyFile,
        inputs: {},
        role: "runner",
        idempotencyKey: null,
        limits: {},
        priority: null,
        ...more,
      }),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await owner.end();
      await installation.close();
      rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
  return rig;
}

/** A store is one object for good: what is to be otherwise stands before it. */
function storeWith(store: Store, otherwise: Partial<Store>): Store {
  return new Proxy(store, {
    get: (target, name) => {
      if (Object.hasOwn(otherwise, name)) return Reflect.get(otherwise, name) as unknown;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

export function policyFor(host: string): object {
  const operations = [
    { type: "skill.http_call", resources: [host] },
    { type: "skill.webhook_send", resources: [host] },
    { type: "skill.slack_send", resources: [`${host}/*`] },
    { type: "skill.voyage_embed", resources: [`${host}/*`] },
    { type: "skill.llm_invoke", resources: ["local/*"] },
    { type: "llm.call", resources: ["local/*"] },
    { type: "skill.__sdsr_fail_trigger__", resources: ["nothing"] },
    { type: "skill.own", resources: ["word_count", "naughty", `${host}/caller`] },
    { type: "skill.json_transform", resources: ["json"] },
    { type: "skill.kv_store", resources: ["reports/*"] },
  ];
  return { policy_id: "p", schema_version: "1.0.0", operations };
}
