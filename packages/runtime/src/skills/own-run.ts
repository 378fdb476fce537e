import { realpathSync } from "node:fs";
import {
  fields,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  parseFormat,
  parseStrictJson,
  SovereignError,
  readFormat,
} from "@sovereign/core";
import { z } from "zod";
import type { Mount, Sandbox, SandboxRequest, SandboxResult } from "../sandbox/index.ts";
import type { OwnSkill, OwnSkills } from "./own-store.ts";

const MEBIBYTE = 1024 * 1024;
const FOLDER = "/skill";

/** A way to the one host of a step, as the sandbox sees it. */
export interface LentDoor {
  readonly token: string;
  readonly socket: string;
  readonly mount: Mount;
}

export interface OwnCall {
  readonly skills: OwnSkills;
  readonly sandbox: Sandbox;
  /** As the schema of `own` gives it. */
  readonly input: JsonObject;
  readonly idempotencyKey: string;
  readonly timeoutMs: number;
  /** Null for a skill without a host. */
  readonly door: LentDoor | null;
  /** True where nobody may do it twice. */
  readonly isUnsafe: boolean;
}

const asked = z.object({
  name: z.string(),
  digest: fields.digest,
  host: z.string().optional(),
  input: z.record(z.string(), fields.json),
});

/** What a program says: a value, or that it failed and did nothing. */
const said = z.union([
  z.strictObject({ value: fields.json }),
  z.strictObject({ error: z.string().max(4000) }),
]);

/**
 * Run a skill of one's own, alone in a sandbox that has its folder, and nothing else of ours.
 *
 * @returns its value: untrusted, but of its own schema
 * @throws ERR_SKILL_CHANGED, ERR_SKILL_UNKNOWN, ERR_SKILL_INPUT, ERR_SKILL_FAILED
 */
export async function runOwnSkill(call: OwnCall, signal: AbortSignal): Promise<JsonValue> {
  const { name, digest, host, input } = parseFormat(asked, call.input, "own", "ERR_SKILL_INPUT");
  const skill = call.skills.open(name, digest);
  const { manifest } = skill;
  if ((host ?? null) !== manifest.host) {
    const text = `${name}: its manifest names the host ${manifest.host ?? "none"}, the plan ${host ?? "none"}`;
    throw new SovereignError("ERR_SKILL_INPUT", text);
  }
  parseFormat(manifest.input, input, `${name} input`, "ERR_SKILL_INPUT");
  signal.throwIfAborted();
  const result = await call.sandbox.run(requestFor(skill, input, call), signal);
  signal.throwIfAborted();
  return readAnswer(result, skill, call.isUnsafe);
}

function readAnswer(result: SandboxResult, { manifest }: OwnSkill, isUnsafe: boolean): JsonValue {
  const { name, output } = manifest;
  const answer = readSaid(result, name, isUnsafe);
  if ("error" in answer) {
    const text = `${name}: ${printable(Buffer.from(answer.error)).slice(0, 500)}`;
    throw new SovereignError("ERR_SKILL_FAILED", text);
  }
  const found = readFormat(output, answer.value);
  if (found.success) return answer.value;
  const [issue] = found.error.issues;
  const at = ["value", ...(issue?.path.map(String) ?? [])].join(".");
  const text = `${name} does not give what its manifest says, at ${at}: ${issue?.message ?? ""}`;
  throw new SovereignError("ERR_EFFECT_RESULT", text);
}

function readSaid(
  { ended, exitCode, stdout, stderr }: SandboxResult,
  name: string,
  isUnsafe: boolean,
): z.infer<typeof said> {
  if (ended !== "exited" || exitCode !== 0) {
    const how = ended === "exited" ? `with code ${exitCode ?? "none"}` : `by ${ended}`;
    const last = printable(stderr).trim().split("\n").at(-1) ?? "";
    throw lost(`${name} ended ${how}: ${last.slice(0, 300)}`, isUnsafe);
  }
  try {
    return parseFormat(said, parseStrictJson(stdout), "answer");
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    throw lost(`${name} wrote no {"value": …} to standard output`, isUnsafe);
  }
}

/** What a program did that ended without saying so, nobody knows. */
function lost(text: string, isUnsafe: boolean): Error {
  return isUnsafe ? new Error(text) : new SovereignError("ERR_SKILL_FAILED", text);
}

function printable(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString("latin1")
    .replaceAll(/[^\x20-\x7e\n]/g, " ");
}

function requestFor(
  { manifest, folder }: OwnSkill,
  input: JsonObject,
  { idempotencyKey, timeoutMs, door }: OwnCall,
): SandboxRequest {
  const [program, ...rest] = manifest.command;
  const node = ["/runtime/node", "--disable-warning=ExperimentalWarning"];
  const env = door === null ? {} : { SOVEREIGN_GATEWAY: door.socket, SOVEREIGN_TOKEN: door.token };
  return {
    argv: [...(program === "node" ? node : [program]), ...rest],
    cwd: FOLDER,
    readOnly: [
      { source: realpathSync(process.execPath), target: "/runtime/node" },
      { source: folder, target: FOLDER },
      ...(door === null ? [] : [door.mount]),
    ],
    writable: [],
    env,
    stdin: Buffer.from(`${JSON.stringify({ input, idempotency_key: idempotencyKey })}\n`),
    limits: {
      wallMs: timeoutMs + 1000,
      cpuSeconds: 3600,
      memoryBytes: 1024 * MEBIBYTE,
      processes: 64,
      outputBytes: MEBIBYTE,
      fileBytes: 64 * MEBIBYTE,
    },
  };
}
