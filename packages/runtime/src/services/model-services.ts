import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  cutText,
  canonicalBytes,
  type JsonObject,
  type ModelUsage,
  type ModelWire,
  SovereignError,
} from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import {
  type ModelCallOutcome,
  type ModelCalls,
  ModelProxyProcess,
  priceOf,
  type VendorInput,
  type VendorReport,
  VendorStore,
} from "../agents/index.ts";
import { openSwitchFolder, programCommand, type Settings } from "../home/index.ts";
import { newId, systemClock, systemEntropy, timestampOf } from "../system/index.ts";

const KEY_BYTES_MAX = 8192;
const TEST_MS = 30_000;

/** Where a key is read. It never stands among a command's words: others can read those. */
export type KeySource =
  | { readonly from: "file"; readonly path: string }
  | { readonly from: "environment"; readonly name: string }
  | { readonly from: "nowhere" };

/** What one real call told of a vendor. */
export interface ModelTestReport {
  readonly vendor: string;
  readonly model: string;
  readonly ok: boolean;
  readonly status: number | null;
  /** What it means, and what to do. */
  readonly meaning: string;
  /** The vendor's own words; empty where there are none. */
  readonly said: string;
  readonly usage: ModelUsage | null;
  /** Null where no price is known. */
  readonly costMicrousd: number | null;
}

export interface ModelServices {
  addVendor(
    input: Omit<VendorInput, "key"> & { readonly key: KeySource; readonly replace: boolean },
  ): Promise<VendorReport>;
  listVendors(): Promise<readonly VendorReport[]>;
  removeVendor(name: string): Promise<void>;
  /** Make one small call through the proxy. It may cost a fraction of a cent. */
  testVendor(name: string, model: string): Promise<ModelTestReport>;
}

export function modelServices(settings: Settings): ModelServices {
  const { home, environment } = settings;
  const store = (): VendorStore =>
    new VendorStore(join(openSwitchFolder(home).root, "models"), settings.passphrase);
  return {
    addVendor: async ({ key, replace, ...input }) => {
      const opened = store();
      return opened.add({ ...input, key: readKey(key, environment) }, now(), replace);
    },
    listVendors: () => Promise.resolve().then(() => store().list()),
    removeVendor: (name) =>
      Promise.resolve().then(() => {
        store().remove(name);
      }),
    testVendor: (name, model) => testVendor(home, environment, store().report(name), model),
  };
}

const now = (): string => timestampOf(systemClock);

function readKey(source: KeySource, environment: Settings["environment"]): string | null {
  if (source.from === "nowhere") return null;
  const text =
    source.from === "file"
      ? readNamed(source.path, KEY_BYTES_MAX).toString("latin1")
      : environment[source.name];
  if (text !== undefined) return text.replace(/\r?\n$/, "");
  const said = `Expected the key in the environment variable ${source.from === "environment" ? source.name : ""}, which is not set.`;
  throw new SovereignError("ERR_MODEL_VENDOR", said);
}

async function testVendor(
  home: string,
  environment: Settings["environment"],
  vendor: VendorReport,
  model: string,
): Promise<ModelTestReport> {
  const folder = await mkdtemp(join(tmpdir(), "sovereign-models-"));
  const owner = { tenant_id: "default", run_id: newId("run_", systemEntropy) };
  const seen: { outcome: ModelCallOutcome | null } = { outcome: null };
  const calls: ModelCalls = {
    reserve: () => Promise.resolve({ allowed: true, call: newId("call_", systemEntropy) }),
    settle: (_, outcome) => {
      seen.outcome = outcome;
      return Promise.resolve();
    },
  };
  try {
    const proxy = await ModelProxyProcess.start({
      command: programCommand("model-proxy"),
      home,
      socket: join(folder, "proxy.sock"),
      environment,
      entropy: systemEntropy,
    });
    try {
      const limits = { firstByteMs: TEST_MS, idleMs: TEST_MS, callMs: TEST_MS };
      const run = { owner, vendor: vendor.name, models: [model], calls, limits };
      const { token } = await proxy.admit(run);
      const [wire = "openai_chat"] = vendor.wires;
      const said = await post(proxy.socket, token, smallRequest(wire, model));
      return reportOf(vendor, model, seen.outcome, said);
    } finally {
      await proxy.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function smallRequest(wire: ModelWire, model: string): { path: string; body: JsonObject } {
  const messages = [{ role: "user", content: "Answer with the word ok." }];
  if (wire.startsWith("anthropic")) {
    return { path: "/v1/messages", body: { model, max_tokens: 16, messages } };
  }
  if (wire === "openai_responses") {
    const input = messages[0]?.content ?? "";
    return { path: "/v1/responses", body: { model, max_output_tokens: 16, input, store: false } };
  }
  return { path: "/v1/chat/completions", body: { model, messages } };
}

function post(
  socketPath: string,
  token: string,
  { path, body }: { path: string; body: JsonObject },
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const bytes = canonicalBytes(body);
    const headers = {
      "content-type": "application/json",
      "content-length": bytes.length,
      "anthropic-version": "2023-06-01",
      authorization: `Bearer ${token}`,
    };
    const outgoing = request({ socketPath, path, method: "POST", headers }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (piece: string) => (text += piece));
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, text });
      });
      response.on("error", reject);
    });
    outgoing.on("error", reject);
    outgoing.end(bytes);
  });
}

function reportOf(
  vendor: VendorReport,
  model: string,
  outcome: ModelCallOutcome | null,
  said: { readonly status: number; readonly text: string },
): ModelTestReport {
  const usage = outcome?.usage ?? null;
  const { provider, price: own } = vendor;
  const priced = { provider, own, model, at: systemClock.now() };
  const ok = outcome?.ended === "completed";
  return {
    vendor: vendor.name,
    model,
    ok,
    status: outcome?.status ?? null,
    meaning: ok ? "It answers." : meaningOf(outcome, said.text),
    said: ok ? "" : wordsOf(said.text),
    usage,
    costMicrousd: usage === null ? null : (priceOf(priced, usage)?.microusd ?? null),
  };
}

function wordsOf(text: string): string {
  return cutText(/"message":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? "", 500);
}

const MEANINGS: Readonly<Record<number, string>> = {
  400: "The vendor does not take the request: look at the model's name.",
  401: "The key is not accepted. Set another: sovereign models add … --replace",
  402: "The account has no credit left.",
  403: "The key may not use this model, or not from here.",
  404: "There is no such model, or the base URL is wrong.",
  429: "Too many calls, or the quota is used up: try again later.",
};

function meaningOf(outcome: ModelCallOutcome | null, text: string): string {
  if (outcome === null) return "The proxy refused the call.";
  const { status, ended } = outcome;
  if (ended === "unreachable") {
    return text.includes("certificate is refused")
      ? "Nobody vouches for the vendor's certificate: look at the base URL, or set NODE_EXTRA_CA_CERTS."
      : "The vendor cannot be reached: look at the base URL and at the network.";
  }
  if (ended === "timeout") return "The vendor did not answer in time.";
  if (ended !== "refused" || status === null) {
    return "What answers does not speak the vendor's protocol: look at the base URL.";
  }
  return MEANINGS[status] ?? `The vendor fails (${status}): try again later.`;
}
