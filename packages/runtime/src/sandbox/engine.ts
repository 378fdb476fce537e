import { chmodSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import {
  fields,
  isSovereignError,
  type JsonValue,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import type { Crowd } from "../process/index.ts";
import {
  BEAT_MS,
  ENGINE_SOCKET,
  type EngineOrder,
  engineOrder,
  Frames,
  leaveCall,
  readFrame,
  type ScramLatch,
  SELF_PROOF_LINK,
  Silence,
} from "../scram/index.ts";
import { HalfRequests } from "./half-requests.ts";
import { HoldingsWatch } from "./holdings-watch.ts";
import { type DeathCosts, pathLimits, pathWeight } from "./holdings.ts";
import { createSandbox, LEVELS } from "./sandbox.ts";
import type { SandboxLevel, SandboxRequest, SandboxResult, StartedPath } from "./types.ts";

const FRAME_BYTES = 1024 * 1024;
const STDIN_BYTES_MAX = 256 * 1024 * 1024;
/** The dead-man comes first: we end our paths only where both are silent. */
const PATIENCE = 2;
/** A disk that does not answer must not hold up the death of what we launched. */
const REPORT_MS = 100;
const NOTHING = new Uint8Array();

const mount = z.strictObject({
  source: z.string().max(4096),
  target: z.string().max(4096),
  own: z.boolean(),
});
const positive = z.int().min(1);

/** What a control asks the engine to run. Standard input follows in frames of its own. */
const engineRequest = z.strictObject({
  path_id: z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/),
  link_id: z.string().max(40),
  tenant_id: fields.name,
  run_id: fields.runId,
  minimum_level: z.enum(["G0", "G2", "G3"]),
  backend: z.enum(["bubblewrap", "container"]),
  stdin_bytes: fields.count.max(STDIN_BYTES_MAX),
  argv: z.array(z.string()),
  cwd: z.string(),
  read_only: z.array(mount).max(1000),
  writable: z.array(mount).max(1000),
  env: z.record(z.string(), z.string()),
  limits: z.strictObject({
    wall_ms: positive,
    cpu_seconds: positive,
    memory_bytes: positive,
    processes: positive,
    output_bytes: positive,
    file_bytes: positive,
    temporary_files: positive,
    kernel_bytes: positive,
  }),
});
export type EngineRequest = z.infer<typeof engineRequest>;

export interface EngineOptions {
  readonly name: string;
  readonly minimumLevel: SandboxLevel;
  /** Refuse paths of which nobody counts what they own of the kernel's memory. */
  readonly requireMemoryController: boolean;
  readonly latch: ScramLatch;
  /** The connection to the sentinel, which is our parent. */
  readonly sentinel: Socket;
  /** A folder of ours, over which each path mounts what it may write to. */
  readonly mountPoint: string;
  /** At most this many paths of usual limits live at once; the others wait. */
  readonly capacity: number;
  /** By which a sentinel in uninterruptible sleep is judged. */
  readonly crowd: Crowd;
  /** What deaths take on this machine. */
  readonly costs: DeathCosts;
}

/**
 * The only launcher of paths. It has no keys and no database, and dies with the sentinel.
 *
 * For each connection one path: its request in, its output and result out. A second message, or the
 * end of the connection, is the word to kill it.
 */
export class Engine {
  readonly #options: EngineOptions;
  readonly #sentinel: Frames;
  readonly #admissions = new Map<string, (order: EngineOrder) => void>();
  readonly #queue: { readonly weight: number; readonly start: () => void }[] = [];
  readonly #watch: HoldingsWatch;
  readonly #half = new HalfRequests();
  /** Those whose gate was opened, and that have not ended. */
  readonly #opened = new Set<string>();
  /** The weights of all paths that live. */
  #live = 0;
  #beats = 0;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#watch = new HoldingsWatch(options.costs);
    this.#sentinel = new Frames(options.sentinel, (kind, content) => {
      this.#beats += 1;
      if (kind !== "json") {
        this.#alive();
        return;
      }
      const order = parseFormat(engineOrder, readFrame(content), "engine order");
      this.#admissions.get(order.path_id)?.(order);
    });
  }

  /** Listen in the working folder, and tell the sentinel. */
  async listen(): Promise<void> {
    rmSync(ENGINE_SOCKET, { force: true });
    const server = createServer((socket) => {
      this.#serve(socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(ENGINE_SOCKET, resolve);
    });
    chmodSync(ENGINE_SOCKET, 0o600);
    this.#sentinel.sendJson({ t: "ready" });
    this.#watchSentinel();
  }

  #alive(): void {
    this.#sentinel.send("out", NOTHING);
  }

  /** What we launched dies with us, by the kernel's hand. */
  #watchSentinel(): void {
    const silence = new Silence(process.ppid, this.#options.crowd, PATIENCE);
    let before = -1;
    const watching = setInterval(() => {
      if (this.#beats !== before) silence.heard();
      else if (silence.missed()) {
        clearInterval(watching);
        this.#endAll();
      }
      before = this.#beats;
    }, BEAT_MS);
  }

  /** The sentinel is wedged, and whoever should have seen to it is, too: the next one is told first. */
  #endAll(): void {
    const die = (): void => {
      process.kill(process.pid, "SIGKILL");
    };
    const paths = this.#opened.size;
    if (paths === 0) {
      die();
      return;
    }
    setTimeout(die, REPORT_MS);
    const why = `the sentinel did not answer while ${paths} paths lived; the engine ended them`;
    void leaveCall(".", why).finally(die);
  }

  #serve(socket: Socket): void {
    const controller = new AbortController();
    const input: Buffer[] = [];
    let request: EngineRequest | null = null;
    let size = 0;
    const frames = new Frames(socket, (kind, content) => {
      if (kind === "json" && request === null) {
        request = parseFormat(engineRequest, readFrame(content), "engine request");
      } else if (kind === "json") {
        controller.abort();
        return;
      } else if (kind === "in" && request !== null && size < request.stdin_bytes) {
        input.push(Buffer.from(content));
        size += content.length;
      } else throw new Error("unexpected frame");
      if (size >= request.stdin_bytes) {
        this.#half.done(socket);
        void this.#run(frames, request, Buffer.concat(input), controller.signal);
      }
    });
    this.#half.add(socket);
    socket.on("close", () => {
      controller.abort();
    });
  }

  async #run(
    frames: Frames,
    request: EngineRequest,
    stdin: Uint8Array,
    signal: AbortSignal,
  ): Promise<void> {
    const asked = sandboxRequest(request, stdin);
    // The switch's own trial takes nobody's place, and waits for none.
    const weight = request.link_id === SELF_PROOF_LINK ? null : weightOf(asked.limits);
    if (weight !== null) await this.#take(weight);
    // Each start keeps us busy for a moment, and many may come at once.
    this.#alive();
    const pathId = request.path_id;
    const { name, minimumLevel, mountPoint } = this.#options;
    const sandbox = createSandbox({
      name,
      pathId,
      owner: request,
      minimumLevel: stricterOf(minimumLevel, request.minimum_level),
      backend: request.backend,
      mountPoint,
      watch: this.#watch,
      // The switch's own trial is no stranger's payload.
      requireMemoryController: weight !== null && this.#options.requireMemoryController,
      onStarted: (path) => this.#register(request, path),
      onOutput: (stream, bytes) => (frames.send(stream, bytes) ? null : drained(frames)),
    });
    try {
      if (signal.aborted) return;
      reply(frames, await sandbox.run(asked, signal));
    } catch (error) {
      const code = isSovereignError(error) ? error.code : "ERR_SANDBOX_UNAVAILABLE";
      const message = error instanceof Error ? error.message : "unknown failure";
      frames.sendJson({ t: "failed", code, message });
    } finally {
      this.#opened.delete(pathId);
      this.#sentinel.sendJson({ t: "ended", path_id: pathId });
      if (weight !== null) this.#release(weight);
      frames.socket.end();
    }
  }

  /** No confirmation, no run; and a last look at the latch, right before the gate opens. */
  async #register(request: EngineRequest, path: StartedPath): Promise<void> {
    const { link_id, tenant_id, run_id } = request;
    const { pathId: path_id, outer, inner, pidNamespace, groups } = path;
    const answer = new Promise<EngineOrder>((resolve) => {
      this.#admissions.set(path_id, resolve);
    });
    this.#sentinel.sendJson({
      t: "started",
      path: {
        path_id,
        link_id,
        tenant_id,
        run_id,
        outer: { ...outer },
        inner: inner === null ? null : { ...inner },
        pid_namespace: pidNamespace,
        groups: [...groups],
      },
    });
    const order = await answer;
    this.#admissions.delete(path_id);
    if (order.t === "refused") {
      const { code, reason } = order;
      throw new SovereignError(code, `${reason}.`);
    }
    const gate = this.#options.latch.preflight(request);
    if (!gate.armed) throw new SovereignError(gate.code, `The kill switch is ${gate.reason}.`);
    // The switch's own trial is no work.
    if (link_id !== SELF_PROOF_LINK) this.#opened.add(path_id);
  }

  #take(weight: number): Promise<void> {
    return new Promise((start) => {
      this.#queue.push({ weight, start });
      this.#admit();
    });
  }

  #release(weight: number): void {
    this.#live -= weight;
    this.#admit();
  }

  /** In turn, so that none waits for ever; one that is heavier than all may be runs alone. */
  #admit(): void {
    for (;;) {
      const next = this.#queue[0];
      const full = this.#live + (next?.weight ?? 0) > this.#options.capacity;
      if (next === undefined || (this.#live > 0 && full)) return;
      this.#queue.shift();
      this.#live += next.weight;
      next.start();
    }
  }
}

/** Of limits that are refused later, once it is its turn, nothing can be said. */
function weightOf(limits: SandboxRequest["limits"]): number {
  try {
    return pathWeight(pathLimits(limits));
  } catch {
    return 1;
  }
}

/** A request may ask for more than the configuration, never for less. */
function stricterOf(one: SandboxLevel, other: SandboxLevel): SandboxLevel {
  return LEVELS.indexOf(one) > LEVELS.indexOf(other) ? one : other;
}

function sandboxRequest(request: EngineRequest, stdin: Uint8Array): SandboxRequest {
  const { argv, cwd, env, read_only, writable, limits } = request;
  return {
    argv,
    cwd,
    env,
    readOnly: read_only,
    writable,
    stdin,
    limits: {
      wallMs: limits.wall_ms,
      cpuSeconds: limits.cpu_seconds,
      memoryBytes: limits.memory_bytes,
      processes: limits.processes,
      outputBytes: limits.output_bytes,
      fileBytes: limits.file_bytes,
      temporaryFiles: limits.temporary_files,
      kernelBytes: limits.kernel_bytes,
    },
  };
}

function reply(frames: Frames, result: SandboxResult): void {
  const { ended, exitCode, signal, wallMs, level, backend, refusedProcesses } = result;
  const told: JsonValue = {
    t: "ended",
    ended,
    exit_code: exitCode,
    signal,
    wall_ms: wallMs,
    level,
    backend,
    refused_processes: refusedProcesses ?? false,
  };
  frames.sendJson(told);
}

/** In pieces, each waiting until the other side has taken the one before. */
export async function sendAll(frames: Frames, kind: "in", bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
    if (!frames.send(kind, bytes.subarray(at, at + FRAME_BYTES))) await drained(frames);
  }
}

/** Until the other side has taken what was sent, or is gone. */
function drained(frames: Frames): Promise<void> {
  return new Promise<void>((resolve) => {
    const done = (): void => {
      frames.socket.off("drain", done);
      frames.socket.off("close", done);
      resolve();
    };
    frames.socket.on("drain", done);
    frames.socket.on("close", done);
  });
}
