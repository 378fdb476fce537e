import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ErrorCode,
  type JsonObject,
  type JsonValue,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import { SecretStore } from "../../src/agents/index.ts";
import { Gateway } from "../../src/gateway/index.ts";
import type { EffectResult } from "../../src/kernel/index.ts";
import { parseHost } from "../../src/policy/index.ts";
import { ArtifactStore, type ContentStore } from "../../src/runs/index.ts";
import {
  createSkillEffects,
  findSkill,
  OwnSkills,
  readInput,
  type SkillNetwork,
} from "../../src/skills/index.ts";
import { createCall, SkillFailure } from "../../src/skills/inside/call.ts";
import { findRun } from "../../src/skills/inside/runs.ts";
import { systemClock } from "../../src/system/index.ts";

/** How a skill is performed. */
export interface How {
  /** Whether the policy names the host exactly. */
  readonly named?: boolean;
  readonly resource?: string;
  readonly timeoutMs?: number;
  readonly version?: string;
  /** What every name leads to. */
  readonly addresses?: readonly string[];
  /** Set where the database goes away once the call was made: whether anything was sent by then. */
  readonly lost?: { readonly mayHaveHappened: boolean };
  /** True where nothing can be kept for other nodes. */
  readonly keepsNothing?: true;
}

/** Skills with a real gateway, in this process instead of the sandbox. */
export interface SkillRig {
  readonly folder: string;
  readonly secrets: SecretStore;
  /** What the gateway had recorded: event, and host or end. */
  readonly recorded: string[];
  perform(name: string, given: JsonObject, how?: How): Promise<EffectResult>;
  /** `completed`, or the code of what went wrong. */
  codeOf(name: string, given: JsonObject, how?: How): Promise<string>;
  close(): Promise<void>;
}

const TOKEN = "7".repeat(64);
const AWAY: ContentStore = {
  put: () => Promise.reject(new SovereignError("ERR_CONTENT_UNAVAILABLE", "It is away.")),
  get: () => Promise.resolve(null),
};

export async function openSkillRig(): Promise<SkillRig> {
  const folder = mkdtempSync(join(tmpdir(), "sov-skill-"));
  const secrets = new SecretStore(join(folder, "secrets"), "acme", null);
  const recorded: string[] = [];
  let addresses: readonly string[] = [];
  let lost: How["lost"];
  const gateway = new Gateway({
    stopped: () => null,
    resolver: () => Promise.resolve(addresses),
  });
  const socket = join(folder, "gateway.sock");
  await gateway.listen(socket);
  const calls = {
    connected: (host: string, port: number) => {
      recorded.push(`connected ${host}:${port}`);
      return Promise.resolve("conn_00000000000000000000");
    },
    closed: (_: string, ended: string) => {
      recorded.push(`closed ${ended}`);
      return Promise.resolve();
    },
    refused: (host: string, code: ErrorCode) => {
      recorded.push(`refused ${host} ${code}`);
      return Promise.resolve();
    },
  };
  const network: SkillNetwork = {
    ready: () => Promise.resolve(),
    perform: async ({ request, host: named, isNamed, secrets: names }, signal) => {
      const { name, port } = parseHost(named);
      const place = { host: name, port: Number(port ?? "443"), isOpen: isNamed };
      const tokenSha256 = sha256Hex(Buffer.from(TOKEN));
      const openSecret = (one: string): ReturnType<SecretStore["open"]> => secrets.open(one);
      gateway.grant({ tokenSha256, place, secrets: names, calls, openSecret });
      const cut = (): void => void gateway.revoke(tokenSha256);
      signal.addEventListener("abort", cut);
      try {
        const answer = await runInProcess(request, socket);
        if (lost === undefined) return answer;
        throw new SovereignError("ERR_STORE_UNAVAILABLE", "It is away.", { ...lost });
      } finally {
        signal.removeEventListener("abort", cut);
        await gateway.revoke(tokenSha256);
      }
    },
    converse: () => Promise.reject(new Error("no model")),
    lend: () => Promise.reject(new Error("no other sandbox")),
  };
  const perform = (given: JsonObject, name: string, how: How): Promise<EffectResult> => {
    const skill = findSkill(name);
    const input = readInput(skill, given, "input");
    const { named: isNamed = true, timeoutMs = 5000 } = how;
    addresses = how.addresses ?? ["127.0.0.1"];
    ({ lost } = how);
    const effect = createSkillEffects({
      artifacts: new ArtifactStore(folder, how.keepsNothing === true ? AWAY : null),
      clock: systemClock,
      isNamed: () => isNamed,
      values: { get: () => Promise.resolve(undefined), put: () => Promise.resolve() },
      host: { ready: () => Promise.resolve(), call: (request) => runInProcess(request, "") },
      network,
      own: {
        skills: new OwnSkills(join(folder, "own"), "acme"),
        sandbox: { run: () => Promise.reject(new Error("no sandbox")) },
      },
    })[`skill.${name}`];
    if (effect === undefined) throw new Error("no effect");
    const { version = skill.version, resource = skill.resource(input) } = how;
    const params = { version, input, timeout_ms: timeoutMs };
    return effect({
      action: { type: `skill.${name}`, resource, params },
      context: { step_id: "call" } as Parameters<typeof effect>[0]["context"],
      idempotencyKey: "k".repeat(64),
      signal: new AbortController().signal,
    });
  };
  return {
    ...{ folder, secrets, recorded },
    perform: (name, given, how = {}) => perform(given, name, how),
    codeOf: (name, given, how = {}) =>
      Promise.resolve()
        .then(() => perform(given, name, how))
        .then(
          ({ status }) => status,
          (error: unknown) => (error instanceof SovereignError ? error.code : String(error)),
        ),
    close: async () => {
      await gateway.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

type Answer = Awaited<ReturnType<SkillNetwork["perform"]>>;

/** What the host in the sandbox does, without one. */
async function runInProcess(request: JsonObject, gateway: string): Promise<Answer> {
  const { skill, input, key } = request as Record<"skill" | "key", string> & JsonObject;
  const run = findRun(skill);
  if (run === null) throw new Error("no such skill");
  const library = createRequire(import.meta.url);
  const call = createCall({
    idempotencyKey: key,
    gateway,
    token: TOKEN,
    model: null,
    library,
  });
  try {
    const { value, keep = [] } = await run(input as never, call);
    const kept = keep.map(({ name, type, bytes }) => ({
      name,
      type,
      base64: Buffer.from(bytes).toString("base64"),
    }));
    return { value: JSON.parse(JSON.stringify(value)) as JsonValue, keep: kept };
  } catch (error) {
    if (error instanceof SkillFailure) {
      throw new SovereignError(error.code as ErrorCode, error.message);
    }
    throw error;
  }
}
