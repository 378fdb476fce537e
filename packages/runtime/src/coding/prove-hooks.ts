import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SovereignError } from "@sovereign/core";
import type { Sandbox, SandboxResult } from "../sandbox/index.ts";
import { newId, systemEntropy } from "../system/index.ts";
import type { AgentEnd, AgentEvent, InstalledAgent, ToolAnswer } from "./adapter.ts";
import { lastOf } from "./agent-end.ts";
import { type AgentHouse, agentRequest, launchAgent, shortFolder } from "./agent-sandbox.ts";
import { HookServer } from "./hook-server.ts";
import { INSIDE, MODEL_PORT } from "./inside-paths.ts";
import { answerOf } from "./tool-calls.ts";

/** A large program on a busy machine takes a minute to begin. */
const CANARY_MS = 180_000;
const CANARY_FILE = "/tmp/canary-ran";
const CANARY_RAN = 99;

export interface ProofOptions extends AgentHouse {
  readonly adapter: InstalledAgent;
  readonly sandbox: Sandbox;
  readonly model: string;
  /** An empty folder of ours. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

/**
 * Have an agent try one tool call, with a made-up model, and see that it asks and obeys.
 *
 * @returns how long it took, in milliseconds
 * @throws ERR_AGENT_HOOK where it did not ask, or did not obey
 */
export async function proveHooks(options: ProofOptions): Promise<number> {
  const { adapter, sandbox, folder, program, model, signal } = options;
  const id = newId("call_canary_", systemEntropy);
  const answers: ToolAnswer[] = [];
  const place = join(folder, "canary");
  const state = join(place, "session");
  mkdirSync(state, { recursive: true, mode: 0o755 });
  const script = join(place, "answers");
  mkdirSync(script, { recursive: true, mode: 0o755 });
  const { first, second } = adapter.canary(id, CANARY_FILE);
  writeFileSync(join(script, "first"), first);
  writeFileSync(join(script, "second"), second);
  const hooks = new HookServer((body) => {
    const call = adapter.hook(body);
    if (call === null) return Promise.reject(new Error("no hook that we know"));
    const reason = "this call only proves that it is asked";
    const denial = answerOf(call, false, reason);
    if (call.phase === "before") answers.push(denial);
    return Promise.resolve({ word: "deny", answer: adapter.answer(call, denial), reason });
  });
  const sockets = shortFolder();
  const events: AgentEvent[] = [];
  try {
    await hooks.listen(join(sockets, "hooks.sock"));
    const task = { prompt: "canary", model, tools: ["Bash"], token: "canary" };
    const prepared = adapter.prepare({ ...task, command: program.command });
    const request = agentRequest(options, prepared, {
      sockets,
      state,
      folder: place,
      place: folder,
      program: [INSIDE.canaryModel, String(MODEL_PORT), INSIDE.canaryAnswers],
      mounts: [{ source: script, target: INSIDE.canaryAnswers, own: true }],
      wallMs: CANARY_MS,
      then: `[ -e ${CANARY_FILE} ] && exit ${CANARY_RAN}`,
    });
    const end = await launchAgent(options, sandbox, request, signal, (line) => {
      for (const event of adapter.parse(line)) events.push(event);
    });
    requireProof(adapter, end, { exitCode: end.exitCode, events, answers, ended: [] }, id);
    return end.wallMs;
  } finally {
    hooks.close();
    rmSync(sockets, { recursive: true, force: true });
  }
}

function requireProof(
  adapter: InstalledAgent,
  end: SandboxResult,
  told: AgentEnd,
  id: string,
): void {
  const asked = told.answers.find((one) => one.id === id);
  const denied = asked !== undefined && adapter.tookDenial(told, asked.mark);
  const ran = end.exitCode === CANARY_RAN;
  if (denied && !ran && end.ended === "exited") return;
  const why = ran
    ? "it carried out a tool call that was denied"
    : asked === undefined
      ? `it did not ask (${end.ended}, exit ${String(end.exitCode)}: ${lastOf(end.stderr)})`
      : `it did not take the denial (${end.ended}, exit ${String(end.exitCode)})`;
  const text = `The agent may not work: before its work it was given a tool call that is denied, and ${why}. Check the installed version with: sovereign agent doctor`;
  throw new SovereignError("ERR_AGENT_HOOK", text);
}
