import { ApiError } from "./api-error.ts";
import { readEvents, type RunEvent } from "./event-stream.ts";
import { OPERATIONS, type Operations, type Problem, type Submission } from "./generated.ts";

export interface ClientOptions {
  /** Where the server listens, such as `https://sovereign.example:7434`. */
  readonly url: string;
  /** A token of the tenant, of `sovereign tokens create` or of the identity provider. */
  readonly token: string;
  /** Send the token over plain HTTP to another machine, where anybody on the way can read it. */
  readonly allowPlaintext?: boolean;
  /** How long an answer may take, in milliseconds; a stream of events has no limit. */
  readonly timeoutMs?: number;
  /** What makes requests; by default the platform's. */
  readonly fetch?: typeof fetch;
}

type Operation = keyof Operations;

/** What a request of an operation says. A part that an operation does not have is left out. */
export type Asked<K extends Operation> = Part<"params", Operations[K]["params"]> &
  Part<"query", Operations[K]["query"]> &
  Part<"headers", Operations[K]["headers"]> &
  (Operations[K]["body"] extends undefined
    ? { readonly body?: undefined }
    : { readonly body: Operations[K]["body"] }) & { readonly signal?: AbortSignal };

type Part<Name extends string, T> =
  Record<string, never> extends T ? { readonly [key in Name]?: T } : { readonly [key in Name]: T };

/** The parts of a request, whatever operation it is of. */
interface Request {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

const TIMEOUT_MS = 60_000;
const AGAIN_MS = 1000;
const LOOPBACK = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])$/;

/** A caller of the HTTP API, for the tenant of its token. */
export class SovereignClient {
  readonly #base: URL;
  readonly #token: string;
  readonly #timeoutMs: number;
  readonly #fetch: typeof fetch;

  /** @throws TypeError for an address that the token is not sent to */
  constructor({ url, token, allowPlaintext, timeoutMs, fetch: make }: ClientOptions) {
    const base = new URL(url);
    const isPlain = base.protocol === "http:";
    if (!isPlain && base.protocol !== "https:") {
      throw new TypeError(`Expected an http or https URL, found ${base.protocol}`);
    }
    if (isPlain && allowPlaintext !== true && !LOOPBACK.test(base.hostname)) {
      throw new TypeError(
        `Expected https for ${base.hostname}: anybody on the way could read the token. To send it all the same, set allowPlaintext.`,
      );
    }
    this.#base = base;
    this.#token = token;
    this.#timeoutMs = timeoutMs ?? TIMEOUT_MS;
    this.#fetch = make ?? fetch;
  }

  /** Make a request whose answer is JSON. @throws ApiError */
  async call<K extends Operation>(name: K, asked: Asked<K>): Promise<Operations[K]["answer"]> {
    const answer = await this.#ask(name, asked, this.#timeout(asked.signal));
    if (answer.status === 204) return undefined;
    const bytes = await answer.arrayBuffer();
    const type = answer.headers.get("content-type") ?? "";
    if (!type.startsWith("application/json")) {
      return new Uint8Array(bytes);
    }
    return JSON.parse(new TextDecoder().decode(bytes)) as Operations[K]["answer"];
  }

  /** The bytes of an answer, as they were sent: for evidence. @throws ApiError */
  async download<K extends Operation>(name: K, asked: Asked<K>): Promise<Uint8Array> {
    const answer = await this.#ask(name, asked, this.#timeout(asked.signal));
    return new Uint8Array(await answer.arrayBuffer());
  }

  /**
   * Submit a goal. The run is durable when this returns.
   * @param key submitted again under the same key, it is the same run; without one, it is a new run
   * @throws ApiError
   */
  async submit(goal: Submission, key?: string): Promise<Operations["submitRun"]["answer"]> {
    const headers = key === undefined ? {} : { headers: { "idempotency-key": key } };
    return this.call("submitRun", { body: goal, ...headers });
  }

  /**
   * The ledger entries of a run as they are recorded, until it has ended. If the connection is lost, it is
   * made again, from the last entry on.
   *
   * @param from what was read before: the `id` of the last entry that was read
   * @throws ApiError where the server refuses, such as once the token counts no more
   */
  async *follow(
    run: string,
    { from, signal }: { readonly from?: string; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<RunEvent> {
    let last = from;
    for (;;) {
      const headers = last === undefined ? {} : { "last-event-id": last };
      const asked = { params: { run }, headers: { ...headers, accept: "text/event-stream" } };
      const answer = await this.#askAgain(asked, signal);
      if (answer.status === 204 || answer.body === null) return;
      try {
        for await (const event of readEvents(answer.body)) {
          last = event.id;
          yield event;
          if (event.type === "run.sealed") return;
        }
      } catch (error) {
        // A connection that is lost is made again; what the caller ended is not.
        if (signal?.aborted === true || error instanceof RangeError) throw error;
      }
      await pause(AGAIN_MS, signal);
    }
  }

  /** A server that starts again is waited for, as long as the caller waits. */
  async #askAgain(asked: Request, signal: AbortSignal | undefined): Promise<Response> {
    for (;;) {
      try {
        return await this.#ask("followRun", asked, signal);
      } catch (error) {
        const gone = error instanceof TypeError || (error instanceof ApiError && isBusy(error));
        if (!gone || signal?.aborted === true) throw error;
        await pause(
          error instanceof ApiError ? (error.retryAfterMs ?? AGAIN_MS) : AGAIN_MS,
          signal,
        );
      }
    }
  }

  async #ask(name: Operation, asked: Request, signal: AbortSignal | undefined): Promise<Response> {
    const { method, path, query, headers: known } = OPERATIONS[name];
    const { params = {}, body } = asked;
    const filled = path.replaceAll(/\{([^{}]+)\}/g, (_all, part: string) =>
      segmentOf(part, params[part]),
    );
    const url = new URL(`${this.#base.pathname.replace(/\/$/, "")}${filled}`, this.#base);
    for (const one of query as readonly string[]) {
      const value = asked.query?.[one];
      if (value !== undefined) url.searchParams.set(one, String(value));
    }
    const headers = new Headers({ authorization: `Bearer ${this.#token}` });
    for (const one of [...(known as readonly string[]), "accept"]) {
      const value = asked.headers?.[one];
      if (value !== undefined) headers.set(one, value);
    }
    if (body !== undefined) headers.set("content-type", "application/json");
    const answer = await this.#fetch(url, {
      method,
      headers,
      // The token is for this server alone.
      redirect: "error",
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
    if (answer.ok) return answer;
    throw await refusalOf(answer);
  }

  #timeout(signal: AbortSignal | undefined): AbortSignal {
    const own = AbortSignal.timeout(this.#timeoutMs);
    return signal === undefined ? own : AbortSignal.any([own, signal]);
  }
}

/** One part of a path, which cannot lead to another. */
function segmentOf(name: string, value: string | undefined): string {
  if (value === undefined || /^\.{0,2}$/.test(value)) {
    throw new TypeError(`Expected a value for ${name}, found ${JSON.stringify(value)}`);
  }
  return encodeURIComponent(value);
}

function isBusy({ status }: ApiError): boolean {
  return status === 429 || status === 502 || status === 503 || status === 504;
}

async function refusalOf(answer: Response): Promise<ApiError> {
  const seconds = Number(answer.headers.get("retry-after") ?? "x");
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : null;
  let problem: Partial<Problem> = {};
  try {
    const text = await answer.text();
    const isProblem = answer.headers.get("content-type") === "application/problem+json";
    if (isProblem) problem = JSON.parse(text) as Partial<Problem>;
  } catch {
    // What stands between may answer anything: the status is all that is known then.
  }
  return new ApiError(answer.status, problem, retryAfterMs);
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const ended = (): void => {
      clearTimeout(timer);
      const why: unknown = signal?.reason;
      reject(why instanceof Error ? why : new Error("it was ended"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", ended);
      resolve();
    }, ms);
    if (signal?.aborted === true) ended();
    else signal?.addEventListener("abort", ended, { once: true });
  });
}
