import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import {
  cutText,
  type ErrorCode,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  SovereignError,
} from "@sovereign/core";
import { startTrustedService } from "../process/index.ts";
import { LineChannel } from "./channel.ts";

/** After a stop a proxy has so long to cut and record what is open; then it is killed. */
const STOP_MS = 250;
const START_MS = 60_000;

/** What of the environment a proxy gets: nothing that holds a secret, or leads elsewhere. */
const PASSED = ["PATH", "SOVEREIGN_PASSPHRASE_FILE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];

/** What a proxy says of itself, and to what it is asked. */
export type ProxyAnswer =
  | { readonly type: "ready" }
  | { readonly type: "done"; readonly id: number }
  | {
      readonly type: "failed";
      readonly id: number;
      readonly code: ErrorCode;
      readonly reason: string;
    };

export interface ProxyChildOptions {
  readonly service: "model-proxy" | "egress" | "gateway";
  /** As messages name it, with the code of its failure. */
  readonly name: string;
  readonly code: ErrorCode;
  readonly command: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** @param message untrusted: what it throws ends the proxy. Answers go to `answered`. */
  readonly onMessage: (message: JsonValue) => void;
  /** Nobody will say any more how what is open ended. */
  readonly onGone: () => Promise<unknown>;
}

/** A proxy that this process started, and that ends with it. */
export class ProxyChild {
  /** Resolved when the process is gone, whatever ended it, and what it left open is recorded. */
  readonly closed: Promise<void>;
  readonly #options: ProxyChildOptions;
  readonly #child: ChildProcess;
  readonly #channel: LineChannel;
  readonly #waiting = new Map<number, (error: SovereignError | null) => void>();
  readonly #ready = Promise.withResolvers<undefined>();
  #gone = false;
  #next = 0;
  #said = "";

  constructor(options: ProxyChildOptions) {
    this.#options = options;
    const { service, command, environment, onMessage } = options;
    const [program, ...args] = command;
    const env = Object.fromEntries(
      PASSED.flatMap((name) => {
        const value = environment[name];
        return value === undefined ? [] : [[name, value]];
      }),
    );
    this.#child = startTrustedService(service, program, args, {
      env,
      stdio: ["ignore", "ignore", "pipe", "pipe"],
      detached: false,
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.#said = `${this.#said}${chunk.toString()}`.slice(-2000);
    });
    const exited = new Promise<void>((resolve) => {
      this.#child.once("exit", () => {
        resolve();
      });
      this.#child.on("error", (error) => {
        this.#said = error.message;
        // What never began has no exit.
        if (this.#child.pid === undefined) resolve();
      });
    });
    const told = Promise.withResolvers<undefined>();
    this.closed = Promise.all([exited, told.promise]).then(() => undefined);
    this.#channel = new LineChannel(this.#child.stdio[3] as Socket, onMessage, () => {
      void this.#onClosed().finally(() => {
        told.resolve(undefined);
      });
    });
  }

  get pid(): number | null {
    return this.#child.pid ?? null;
  }

  /** Wait until it listens to us. @throws the code of its failure */
  async ready(): Promise<void> {
    const timer = setTimeout(() => {
      this.#ready.reject(this.lost("it says nothing"));
    }, START_MS);
    try {
      await this.#ready.promise;
    } catch (error) {
      this.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  answered(message: ProxyAnswer): void {
    if (message.type === "ready") {
      this.#ready.resolve(undefined);
      return;
    }
    const answer = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    answer?.(message.type === "done" ? null : new SovereignError(message.code, message.reason));
  }

  send(message: JsonObject): void {
    this.#channel.send(message);
  }

  /** Have it do something. @throws what it fails by, or the code of its failure */
  async ask(question: JsonObject): Promise<void> {
    if (this.#gone) throw this.lost("it died");
    const id = this.#next++;
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    this.#waiting.set(id, (error) => {
      if (error === null) resolve(undefined);
      else reject(error);
    });
    this.send({ ...question, id });
    await promise;
  }

  /** Record a connection that the proxy tells of. What cannot be recorded is not connected. */
  async answer(id: number, record: () => Promise<string | null>): Promise<void> {
    try {
      this.send({ type: "allowed", id, connection: await record() });
    } catch (error) {
      const code = isSovereignError(error) ? error.code : this.#options.code;
      const why = error instanceof Error ? error.message : "unknown";
      this.send({ type: "refused", id, code, reason: cutText(why, 2000) });
    }
  }

  /**
   * The kill switch: everything is cut, and recorded. A proxy that does not end it at once is
   * killed.
   */
  stop(reason: string): void {
    this.send({ type: "stop", reason: cutText(reason, 1000) });
    const timer = setTimeout(() => {
      this.kill();
    }, STOP_MS);
    void this.closed.then(() => {
      clearTimeout(timer);
    });
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** End the process. */
  async close(): Promise<void> {
    this.#channel.close();
    this.kill();
    await this.closed;
  }

  lost(why: string): SovereignError {
    const { name, code } = this.#options;
    const said = this.#said.trim().split("\n").at(-1) ?? "";
    return new SovereignError(code, `The ${name} does not run: ${why}. ${said}`.trim());
  }

  async #onClosed(): Promise<void> {
    this.#gone = true;
    const lost = this.lost("it died");
    this.#ready.reject(lost);
    // Nobody may be waiting for it to be ready any more.
    this.#ready.promise.catch(() => undefined);
    for (const answer of this.#waiting.values()) answer(lost);
    this.#waiting.clear();
    this.kill();
    // What of it cannot be recorded counts as what was held: nobody is left to tell.
    await this.#options.onGone().catch(() => undefined);
  }
}
