import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type EntryData,
  entryData,
  type EventName,
  type JsonObject,
  type ModelBudget,
  type ModelWire,
  parseFormat,
  sha256,
} from "@sovereign/core";
import { ScriptedModel, type ScriptedOptions } from "../../../../examples/agent/scripted-model.ts";
import {
  ModelCallDesk,
  type ModelCallDeskOptions,
  ModelProxy,
  type OpenedVendor,
  type ProxyLimits,
  proxyLimits,
} from "../../src/agents/index.ts";
import type { ScramGate } from "../../src/kernel/index.ts";
import { PolicyEngine, parsePolicy } from "../../src/policy/index.ts";
import { systemClock, systemEntropy } from "../../src/system/index.ts";

export const ALL_WIRES: readonly ModelWire[] = [
  "anthropic_messages",
  "anthropic_count",
  "openai_responses",
  "openai_chat",
];
export const CANARY = "sk-canary-9f2d61c07b5e4a3899aa";
/** When the vendors of tests were added. */
export const ADDED_AT = "2026-11-28T22:00:00.000Z";

/** A scripted model as a vendor of ours, with the key that nobody else may see. */
export const scriptedVendor = (baseUrl: string) => ({
  name: "scripted",
  baseUrl,
  auth: "bearer" as const,
  wires: ["anthropic_messages" as const],
  provider: null,
  price: null,
  outputField: "max_tokens" as const,
  key: CANARY,
});
export const TOKEN = "7b".repeat(32);
export const RUN_ID = "run_aaaaaaaaaaaaaaaaaaaa";
export const OWNER = { tenant_id: "default", run_id: RUN_ID };
export const NO_LIMIT: ModelBudget = { microusd: null, tokens: null };
/** A model of which the table knows the price: $3 and $15 for a million tokens. */
export const PRICED = "claude-sonnet-4-5";

export interface Recorded {
  readonly event_type: string;
  readonly data: JsonObject;
}

/** A gate that is tripped by hand. */
export class HandGate implements ScramGate {
  tripped = false;

  preflight(): ReturnType<ScramGate["preflight"]> {
    if (!this.tripped) return { armed: true };
    return { armed: false, code: "ERR_SCRAM_TRIPPED", reason: "tripped by hand" };
  }
}

export interface RigOptions {
  readonly script: ScriptedOptions["script"];
  readonly budget?: ModelBudget;
  readonly limits?: Partial<ProxyLimits>;
  readonly policy?: JsonObject;
  readonly vendor?: Partial<OpenedVendor>;
  readonly own?: { readonly input: number; readonly output: number };
  readonly tls?: ScriptedOptions["tls"];
  readonly resolver?: (host: string) => Promise<readonly string[]>;
  readonly record?: ModelCallDeskOptions["record"];
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** Whether the answer came to its end. */
  readonly whole: boolean;
}

/** A proxy on a real socket between a client and a scripted vendor, with a desk that records. */
export class ModelRig {
  readonly entries: Recorded[] = [];
  readonly gate = new HandGate();
  readonly socket: string;
  readonly folder: string;
  vendor!: ScriptedModel;
  proxy!: ModelProxy;
  desk!: ModelCallDesk;

  private constructor() {
    this.folder = mkdtempSync(join(tmpdir(), "model-"));
    this.socket = join(this.folder, "proxy.sock");
  }

  static async start(options: RigOptions): Promise<ModelRig> {
    const rig = new ModelRig();
    const { script, tls, resolver, limits = {}, vendor = {} } = options;
    rig.vendor = await ScriptedModel.start({
      script,
      key: CANARY,
      ...(tls === undefined ? {} : { tls }),
    });
    rig.desk = await ModelCallDesk.open(deskOptions(rig, options), null);
    rig.proxy = new ModelProxy({
      gate: rig.gate,
      limits: proxyLimits.parse(limits),
      ...(resolver === undefined ? {} : { resolver }),
    });
    await rig.proxy.listen(rig.socket);
    rig.proxy.admit({
      owner: OWNER,
      tokenSha256: sha256(Buffer.from(TOKEN)),
      models: [PRICED],
      calls: rig.desk,
      vendor: {
        name: "scripted",
        wires: ALL_WIRES,
        base: new URL(rig.vendor.url),
        auth: "x-api-key",
        key: CANARY,
        outputField: "max_completion_tokens",
        ...vendor,
      },
    });
    return rig;
  }

  async close(): Promise<void> {
    await this.proxy.close();
    await this.vendor.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The data of all entries of one event, each held to its format. */
  events<K extends EventName>(event: K): EntryData<K>[] {
    return this.entries
      .filter(({ event_type: type }) => type === event)
      .map(({ data }) => parseFormat(entryData[event], data, event) as EntryData<K>);
  }

  post(
    path: string,
    body: JsonObject | Buffer,
    headers: Record<string, string> = { "x-api-key": TOKEN },
  ): Promise<Reply> {
    return ask(this.socket, "POST", path, body, headers);
  }
}

export function deskOptions(
  rig: { entries: Recorded[]; gate: ScramGate },
  options: Pick<RigOptions, "budget" | "policy" | "own" | "record">,
): ModelCallDeskOptions {
  const document = options.policy ?? {
    policy_id: "models",
    schema_version: "1.0",
    operations: [{ type: "llm.call", resources: ["scripted/**"] }],
  };
  const policy = new PolicyEngine(
    parsePolicy(Buffer.from(JSON.stringify(document)), "policy.json"),
  );
  return {
    context: {
      ...OWNER,
      step_id: "agent",
      attempt: 1,
      role: "coder",
      mode: "sovereign",
      config_digest: "0".repeat(64),
      policy_digest: policy.policyDigest,
    },
    budget: options.budget ?? NO_LIMIT,
    policy,
    scram: rig.gate,
    clock: systemClock,
    entropy: systemEntropy,
    pricing: () => ({ provider: null, own: options.own ?? null }),
    record:
      options.record ??
      ((event_type, _severity, data) => {
        rig.entries.push({ event_type, data });
        return Promise.resolve();
      }),
  };
}

/** Send one request over a Unix socket, and take all of the answer. */
export function ask(
  socketPath: string,
  method: string,
  path: string,
  body: JsonObject | Buffer | null,
  headers: Record<string, string>,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const bytes = body === null || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    const outgoing = request(
      {
        socketPath,
        method,
        path,
        headers: {
          ...(bytes === null
            ? {}
            : { "content-type": "application/json", "content-length": bytes.length }),
          ...headers,
        },
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (piece: string) => (text += piece));
        response.on("error", () => undefined);
        response.on("close", () => {
          const { statusCode: status = 0, headers: found, complete: whole } = response;
          resolve({ status, headers: found, text, whole });
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(bytes ?? undefined);
  });
}

/** A request of each format, as its clients send it. */
export const REQUESTS: Readonly<Record<string, { path: string; body: JsonObject }>> = {
  messages: {
    path: "/v1/messages?beta=true",
    body: {
      model: PRICED,
      max_tokens: 1000,
      messages: [{ role: "user", content: [{ type: "text", text: "hello" }] }],
    },
  },
  responses: {
    path: "/v1/responses",
    body: { model: "gpt-5.5", input: [{ type: "message", role: "user", content: "hello" }] },
  },
  chat: {
    path: "/v1/chat/completions",
    body: { model: "gpt-5.5", messages: [{ role: "user", content: "hello" }] },
  },
};
