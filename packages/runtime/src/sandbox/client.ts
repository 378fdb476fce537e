import { setTimeout as sleep } from "node:timers/promises";
import { type ErrorCode, isErrorCode, parseFormat, SovereignError } from "@sovereign/core";
import { z } from "zod";
import { newId, systemEntropy } from "../system/index.ts";
import { killProcess } from "../process/index.ts";
import {
  findPath,
  type FrameKind,
  Frames,
  readFrame,
  ScramLink,
  type WorkOwner,
} from "../scram/index.ts";
import { type EngineRequest, sendAll } from "./engine.ts";
import { HOLDINGS } from "./holdings.ts";
import type { Sandbox } from "./sandbox.ts";
import type { Mount, SandboxDemands, SandboxRequest, SandboxResult } from "./types.ts";

const DEATH_MS = 10_000;
const POLL_MS = 20;
/** How long the engine has to answer a cancel. */
const PATIENCE_MS = 1000;

const engineReply = z.discriminatedUnion("t", [
  z.strictObject({
    t: z.literal("ended"),
    ended: z.enum([
      "exited",
      "signalled",
      "cancelled",
      "wall_clock",
      "cpu_limit",
      "memory_limit",
      "process_limit",
      "output_limit",
    ]),
    exit_code: z.int().nullable(),
    signal: z.string().nullable(),
    wall_ms: z.number(),
    level: z.enum(["G3", "G2", "G0"]),
    backend: z.enum(["bubblewrap", "container", "none"]),
    refused_processes: z.boolean().default(false),
  }),
  z.strictObject({
    t: z.literal("failed"),
    code: z.custom<ErrorCode>(isErrorCode),
    message: z.string(),
  }),
]);

/**
 * The sandbox as a control has it: through the engine, as a path that the sentinel knows.
 *
 * Its `run` throws ERR_SCRAM_TRIPPED, ERR_SCRAM_SENTINEL_LOST or ERR_SANDBOX_ENGINE_LOST when the
 * path was killed from outside; it is dead then.
 */
export function connectSandbox(
  link: ScramLink,
  owner: WorkOwner,
  { minimumLevel = "G2", backend = "bubblewrap" }: Partial<SandboxDemands> = {},
): Sandbox {
  ScramLink.assertMade(link);
  // A copy: whose work it does stays what it was when it was connected.
  const whose = Object.freeze({ tenant_id: owner.tenant_id, run_id: owner.run_id });
  const place = { link, owner: whose, minimumLevel, backend };
  return Object.freeze<Sandbox>({
    run: (request, signal, onOutput) => runPath(place, request, signal, onOutput),
  });
}

interface Place extends SandboxDemands {
  readonly link: ScramLink;
  readonly owner: WorkOwner;
}

async function runPath(
  { link, owner, minimumLevel, backend }: Place,
  request: SandboxRequest,
  signal: AbortSignal,
  onOutput?: (bytes: Uint8Array) => void,
): Promise<SandboxResult> {
  const socket = await unlessAborted(link.connectEngine(), signal).catch((error: unknown) => {
    throw trippedFor(link, owner) ?? error;
  });
  if (socket === null) throw await whyLost(link, owner, null);
  const streams: Record<FrameKind, Buffer[]> = { json: [], in: [], out: [], err: [] };
  let size = 0;
  const frames = new Frames(socket, (kind, content) => {
    size += content.length;
    // The engine holds to the limit; so do we, should it not.
    if (size > request.limits.outputBytes + 64 * 1024) throw new Error("too much output");
    if (kind === "out" && onOutput !== undefined) onOutput(Buffer.from(content));
    else streams[kind].push(Buffer.from(content));
  });
  const closed = new Promise<void>((resolve) => {
    socket.on("close", resolve);
  });
  const pathId = newId("path-", systemEntropy);
  let impatient: NodeJS.Timeout | undefined;
  const cancel = (): void => {
    frames.sendJson({ t: "cancel" });
    // An engine that is wedged is not needed: the sentinel kills without it.
    impatient ??= setTimeout(() => {
      socket.destroy();
    }, PATIENCE_MS);
  };
  signal.addEventListener("abort", cancel);
  try {
    const stdin = request.stdin ?? new Uint8Array();
    frames.sendJson({
      ...asked(link, owner, pathId, request),
      minimum_level: minimumLevel,
      backend,
      stdin_bytes: stdin.length,
    });
    await sendAll(frames, "in", stdin);
    if (signal.aborted) cancel();
    await closed;
  } finally {
    signal.removeEventListener("abort", cancel);
    clearTimeout(impatient);
  }
  const last = streams.json.at(-1);
  if (last === undefined) throw await whyLost(link, owner, pathId);
  const reply = parseFormat(engineReply, readFrame(last), "engine reply");
  if (reply.t === "failed") {
    throw trippedFor(link, owner) ?? new SovereignError(reply.code, reply.message);
  }
  return {
    ended: reply.ended,
    exitCode: reply.exit_code,
    signal: reply.signal,
    wallMs: reply.wall_ms,
    level: reply.level,
    backend: reply.backend,
    ...(reply.refused_processes ? { refusedProcesses: true } : {}),
    stdout: Buffer.concat(streams.out),
    stderr: Buffer.concat(streams.err),
  };
}

function asked(
  link: ScramLink,
  owner: WorkOwner,
  pathId: string,
  request: SandboxRequest,
): Omit<EngineRequest, "stdin_bytes" | "minimum_level" | "backend"> {
  const { argv, cwd, env, readOnly, writable, limits } = request;
  return {
    path_id: pathId,
    link_id: link.id,
    tenant_id: owner.tenant_id,
    run_id: owner.run_id,
    argv: [...argv],
    cwd,
    env: { ...env },
    read_only: readOnly.map(mountOf),
    writable: writable.map(mountOf),
    limits: {
      wall_ms: limits.wallMs,
      cpu_seconds: limits.cpuSeconds,
      memory_bytes: limits.memoryBytes,
      processes: limits.processes,
      output_bytes: limits.outputBytes,
      file_bytes: limits.fileBytes,
      temporary_files: limits.temporaryFiles ?? HOLDINGS.temporaryFiles.usual,
      kernel_bytes: limits.kernelBytes ?? HOLDINGS.kernelBytes.usual,
    },
  };
}

function mountOf({ source, target, own = false }: Mount): EngineRequest["writable"][number] {
  return { source, target, own };
}

/** An engine that never gets ready must not hold a cancel up. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(new SovereignError("ERR_SANDBOX_ENGINE_LOST", "Cancelled before it began."));
    };
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** INVARIANT: whoever is told that a path is lost is told after its death was verified. */
async function whyLost(
  link: ScramLink,
  owner: WorkOwner,
  pathId: string | null,
): Promise<SovereignError> {
  try {
    if (pathId !== null) await link.request({ t: "kill", path_id: pathId });
  } catch {
    if (pathId !== null) await sweptDead(link.name, pathId);
  }
  return (
    trippedFor(link, owner) ??
    new SovereignError(
      "ERR_SANDBOX_ENGINE_LOST",
      "The path was ended before it could say how. What it started is dead; it may be tried again.",
    )
  );
}

/** That the switch is why; null where it is armed. */
function trippedFor(link: ScramLink, owner: WorkOwner): SovereignError | null {
  const gate = link.preflight(owner);
  if (gate.armed) return null;
  return new SovereignError(gate.code, `The kill switch is ${gate.reason}.`);
}

/**
 * Without a sentinel the kernel kills what it owned. What was still being set up it may not own yet:
 * we kill that ourselves, of our own path alone, for a next sentinel may have paths already.
 */
async function sweptDead(name: string, pathId: string): Promise<void> {
  for (let waited = 0; waited < DEATH_MS; waited += POLL_MS) {
    const left = findPath(name, pathId);
    if (left.length === 0) return;
    for (const one of left) killProcess(one);
    await sleep(POLL_MS);
  }
  throw new SovereignError(
    "ERR_SANDBOX_SURVIVOR",
    `Processes of a dead sentinel still live after ${DEATH_MS / 1000} s.`,
  );
}
