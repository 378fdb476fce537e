import { mkdirSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { API_SCOPES, type ApiScope } from "@sovereign/core";
import { ApiServer } from "../../src/api/index.ts";
import { parseListenAddress } from "../../src/scram-http/index.ts";
import type { ApiServices, ServerEvent } from "../../src/services/index.ts";
import { tokenServices } from "../../src/services/token-services.ts";
import { type GoalRig, openGoalRig, policyFor } from "./goal-rig.ts";

export const ALL: readonly ApiScope[] = API_SCOPES;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The text as JSON; null where it is none. */
  readonly json: Record<string, unknown>;
}

/** An API server over a rig of goals, with tenants that have policies and tokens. */
export interface ApiRig extends GoalRig {
  readonly server: ApiServer;
  readonly api: ApiServices;
  readonly tokens: ReturnType<typeof tokenServices>;
  readonly faults: unknown[];
  readonly events: ServerEvent[];
  tokenOf(tenant: string, scopes?: readonly ApiScope[], validMs?: number): Promise<string>;
  tokenIdOf(token: string): Promise<string>;
  ask(token: string | null, method: string, path: string, more?: AskedMore): Promise<Answer>;
  /** Submit a goal and wait for its end. @returns its id */
  carryOut(token: string, body: object, headers?: Record<string, string>): Promise<string>;
  ended(token: string, run: string): Promise<Answer>;
}

interface AskedMore {
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

/** @param config what `config.yaml` holds */
export async function openApiRig(perSecond = 100_000, config: object = {}): Promise<ApiRig> {
  const rig = await openGoalRig();
  writeFileSync(join(rig.home, "config.yaml"), JSON.stringify(config), { mode: 0o600 });
  const policies = join(rig.services.home, "policies");
  mkdirSync(policies);
  for (const tenant of ["acme", "globex"])
    writeFileSync(join(policies, `${tenant}.yaml`), JSON.stringify(policyFor(rig.host)));
  const tokens = tokenServices((work) => work(rig.installation));
  const tokenOf: ApiRig["tokenOf"] = async (tenantId, scopes = ALL, validMs = 3_600_000) =>
    (await tokens.createToken({ tenantId, scopes, label: "", validMs })).token;
  await tokenOf("acme");
  const events: ServerEvent[] = [];
  const faults: unknown[] = [];
  const api = rig.services.openServer((event) => events.push(event));
  const server = await ApiServer.start({
    services: api,
    listen: parseListenAddress("127.0.0.1:0"),
    tls: null,
    plaintext: false,
    names: [],
    rates: { perSecond },
    onFault: (error) => faults.push(error),
  });
  const ask: ApiRig["ask"] = (token, method, path, more) =>
    askAt(server.url, token, method, path, more);
  const ended: ApiRig["ended"] = async (token, run) => {
    for (;;) {
      const shown = await ask(token, "GET", `/v1/runs/${run}`);
      const open = shown.json["status"] === "running" || shown.json["published"] === false;
      if (!open || shown.status !== 200 || shown.json["status"] === "pending") return shown;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  return {
    ...rig,
    set answer(answer: GoalRig["answer"]) {
      rig.answer = answer;
    },
    get answer() {
      return rig.answer;
    },
    server,
    api,
    tokens,
    faults,
    events,
    tokenOf,
    tokenIdOf: async (token) => {
      const found = await api.authenticate(token);
      if (found?.kind !== "token") throw new Error("it is none of ours that counts");
      return found.tokenId;
    },
    ask,
    ended,
    carryOut: async (token, body, headers = {}) => {
      const begun = await ask(token, "POST", "/v1/runs", { body, headers });
      if (begun.status !== 202) throw new Error(`not begun: ${begun.text}`);
      const run = String(begun.json["run_id"]);
      await ended(token, run);
      return run;
    },
    close: async () => {
      await server.close();
      await api.close(0);
      await rig.close();
    },
  };
}

export async function askAt(
  url: string,
  token: string | null,
  method: string,
  path: string,
  { body, headers = {} }: AskedMore = {},
): Promise<Answer> {
  const given: Record<string, string> = { ...headers };
  if (token !== null) given["authorization"] = `Bearer ${token}`;
  if (body !== undefined) given["content-type"] ??= "application/json";
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const init = { method, headers: given, ...(body === undefined ? {} : { body: text }) };
  const answer = await fetch(`${url}${path}`, init);
  return answerOf(answer.status, answer.headers, await answer.text());
}

/** With headers that `fetch` does not let anybody send. */
export function askRaw(
  url: string,
  path: string,
  headers: Record<string, string | string[]>,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest(`${url}${path}`, { headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("end", () => {
        const flat = Object.entries(answer.headersDistinct).map(
          ([name, values]): [string, string] => [name, values?.join(", ") ?? ""],
        );
        const text = Buffer.concat(chunks).toString();
        resolve(answerOf(answer.statusCode ?? 0, new Headers(flat), text));
      });
    });
    asked.on("error", reject);
    asked.end();
  });
}

function answerOf(status: number, headers: Headers, text: string): Answer {
  const isJson = headers.get("content-type")?.includes("json") === true;
  return { status, headers, text, json: isJson ? (JSON.parse(text) as Answer["json"]) : {} };
}
