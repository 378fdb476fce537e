import { chmodSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import {
  cutText,
  type ErrorCode,
  fields,
  type JsonObject,
  type JsonValue,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { LineChannel } from "../agents/index.ts";
import type { Mount, Sandbox, SandboxRequest } from "../sandbox/index.ts";
import { programFile, Turns } from "../system/index.ts";

const MEBIBYTE = 1024 * 1024;
const ANSWER_BYTES_MAX = 4 * MEBIBYTE;
const START_MS = 60_000;
/** After its time is over, a call that does not end ends its host. */
const GRACE_MS = 1000;
const DAY_MS = 24 * 60 * 60 * 1000;

const PROGRAMS = "/sovereign/skills";
const SOCKETS = "/sovereign/run";
const MODULES = "/sovereign/modules";
const LIBRARIES = ["jsonata"] as const;

/** What a host may say went wrong; anything else is a failure like another. */
const CODES: readonly ErrorCode[] = [
  ...(["ERR_SKILL_FAILED", "ERR_SKILL_INPUT", "ERR_SKILL_ADDRESS", "ERR_OUTCOME_UNKNOWN"] as const),
  ...(["ERR_EGRESS_DENIED", "ERR_SECRET_DENIED", "ERR_SECRET_UNKNOWN", "ERR_SECRET_FILE"] as const),
  ...(["ERR_KEY_PASSPHRASE", "ERR_SKILL_GATEWAY", "ERR_SCRAM_TRIPPED"] as const),
];

const reply = z.strictObject({
  id: z.int(),
  value: fields.json.optional(),
  keep: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[a-z][a-z0-9._-]{0,60}$/),
        type: z.string().max(100),
        base64: z.string(),
      }),
    )
    .max(8)
    .optional(),
  error: z.strictObject({ code: z.string().max(80), text: z.string().max(2000) }).optional(),
});

/** What a call came to. Untrusted, but for its shape. */
export interface HostAnswer {
  readonly value: JsonValue;
  readonly keep: readonly {
    readonly name: string;
    readonly type: string;
    readonly base64: string;
  }[];
}

/** The host ended while it was at work: what it did by then nobody knows. */
export class HostLost extends Error {
  override readonly name = "HostLost";
}

export interface SkillHostOptions {
  readonly sandbox: Sandbox;
  /** Ends the host with the run. */
  readonly signal: AbortSignal;
  /** The gateway's socket, in the sandbox; null for a host without a network. */
  readonly gateway: { readonly socket: string; readonly mount: Mount } | null;
}

/** One host while it lives. */
interface Live {
  readonly channel: LineChannel;
  /** Resolves when every process of it is dead. */
  readonly ended: Promise<unknown>;
  readonly stop: AbortController;
  readonly folder: string;
  readonly server: Server;
}

interface Waiting {
  readonly resolve: (answer: HostAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A process in the sandbox in which a run's skills work: a path like any other, which the kill switch
 * ends. It starts with the first call and stays warm between steps. What it answers is untrusted. A
 * call that does not end in time ends the host, and the next call starts another.
 */
export class SkillHost {
  readonly #options: SkillHostOptions;
  readonly #waiting = new Map<number, Waiting>();
  #live: Promise<Live> | null = null;
  readonly #turns = new Turns();
  #calls = 0;

  constructor(options: SkillHostOptions) {
    this.#options = options;
  }

  /**
   * What only computes can keep its host busy: such calls run one after another. Others run side by
   * side.
   *
   * @throws what the skill says, HostLost, or why the signal aborted
   */
  call(request: JsonObject, signal: AbortSignal): Promise<HostAnswer> {
    if (this.#options.gateway !== null) return this.#call(request, signal);
    return this.#turns.take(() => this.#call(request, signal));
  }

  /** Start it where it does not run: a step's time begins after that. */
  async ready(): Promise<void> {
    await (this.#live ??= this.#start());
  }

  /** Resolves when nothing of it is left. */
  async close(): Promise<void> {
    await this.#turns.over();
    await this.#end(this.#live);
  }

  async #call(request: JsonObject, signal: AbortSignal): Promise<HostAnswer> {
    signal.throwIfAborted();
    this.#live ??= this.#start();
    const used = this.#live;
    const { channel } = await used;
    // It may have taken longer to start than there was time.
    signal.throwIfAborted();
    const id = ++this.#calls;
    const { promise, resolve, reject } = Promise.withResolvers<HostAnswer>();
    this.#waiting.set(id, { resolve, reject });
    const onAbort = (): void => {
      const grace = this.#options.gateway === null ? 0 : GRACE_MS;
      const timer = setTimeout(() => void this.#end(used), grace);
      promise
        // The caller has the promise, and its failure.
        .catch(() => undefined)
        .finally(() => {
          clearTimeout(timer);
        });
    };
    signal.addEventListener("abort", onAbort);
    channel.send({ id, ...request });
    try {
      return await promise;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #take(message: JsonValue): void {
    const { id, value, keep, error } = parseFormat(reply, message, "answer of a skill host");
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve({ value: value ?? null, keep: keep ?? [] });
    else {
      const code = CODES.find((one) => one === error.code) ?? "ERR_SKILL_FAILED";
      waiting?.reject(new SovereignError(code, cutText(error.text, 1000)));
    }
  }

  #lose(): void {
    for (const { reject } of this.#waiting.values()) reject(new HostLost("the skill host ended"));
    this.#waiting.clear();
  }

  async #start(): Promise<Live> {
    // A socket's path has at most 107 bytes, and a data folder's may have more.
    const folder = mkdtempSync(join(tmpdir(), "sov-skills-"));
    const server = createServer();
    const stop = new AbortController();
    const connected = new Promise<Socket>((resolve) => server.once("connection", resolve));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(join(folder, "host.sock"), resolve);
    });
    // Its folder is ours alone; who sees it in a sandbox is another user.
    chmodSync(join(folder, "host.sock"), 0o666);
    const { sandbox, signal, gateway } = this.#options;
    const ended = sandbox.run(requestFor(folder, gateway), AbortSignal.any([signal, stop.signal]));
    // Whoever waits for the host is told by its socket; that it ended is no failure by itself.
    ended.catch(() => undefined);
    const late = AbortSignal.timeout(START_MS);
    try {
      const socket = await Promise.race([connected, failureOf(ended), failureAt(late)]);
      const live = this.#live;
      const onClose = (): void => {
        this.#lose();
        void this.#end(live);
      };
      const take = (message: JsonValue): void => {
        this.#take(message);
      };
      const channel = new LineChannel(socket, take, onClose, ANSWER_BYTES_MAX);
      return { channel, ended, stop, folder, server };
    } catch (error) {
      stop.abort();
      server.close();
      // Why it did not start is thrown below.
      await ended.catch(() => undefined);
      rmSync(folder, { recursive: true, force: true });
      this.#live = null;
      throw error;
    }
  }

  /** @param which one that was started: a later one is left alone */
  async #end(which: Promise<Live> | null): Promise<void> {
    if (this.#live === which) this.#live = null;
    const live = await which?.catch(() => null);
    if (live === null || live === undefined) return;
    live.stop.abort();
    live.channel.close();
    live.server.close();
    await live.ended.catch(() => undefined);
    rmSync(live.folder, { recursive: true, force: true });
  }
}

async function failureOf(ended: Promise<{ readonly stderr: Uint8Array }>): Promise<never> {
  const { stderr } = await ended;
  const said = cutText(Buffer.from(stderr).toString("utf8"), 300);
  throw new SovereignError("ERR_SKILL_FAILED", `the skill host did not start: ${said}`);
}

function failureAt(late: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    late.addEventListener("abort", () => {
      const text = `the skill host did not start within ${START_MS} ms`;
      reject(new SovereignError("ERR_SKILL_TIMEOUT", text));
    });
  });
}

function requestFor(folder: string, gateway: SkillHostOptions["gateway"]): SandboxRequest {
  const { resolve } = createRequire(import.meta.url);
  const program = programFile("skills/inside/host");
  const libraries = LIBRARIES.map((name) => ({
    source: realpathSync(dirname(resolve(`${name}/package.json`))),
    target: `${MODULES}/node_modules/${name}`,
  }));
  return {
    argv: [
      ...["/runtime/node", "--disable-warning=ExperimentalWarning"],
      "--disable-warning=MODULE_TYPELESS_PACKAGE_JSON",
      `${PROGRAMS}/inside/${basename(program)}`,
      ...[`${SOCKETS}/host.sock`, gateway?.socket ?? "", MODULES],
    ],
    cwd: "/tmp",
    readOnly: [
      { source: realpathSync(process.execPath), target: "/runtime/node" },
      // The skills' own programs: they hold nothing that is not public.
      { source: dirname(dirname(program)), target: PROGRAMS },
      { source: folder, target: SOCKETS, own: true },
      ...(gateway === null ? [] : [gateway.mount]),
      ...libraries,
    ],
    writable: [],
    env: {},
    limits: {
      wallMs: DAY_MS,
      cpuSeconds: 3600,
      memoryBytes: 1024 * MEBIBYTE,
      processes: 64,
      outputBytes: MEBIBYTE,
      fileBytes: MEBIBYTE,
    },
  };
}
