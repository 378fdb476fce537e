import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import {
  cutText,
  digestOf,
  type JsonObject,
  predicateType,
  type ScramSelfProof,
} from "@sovereign/core";
import { signStatement } from "../authority/index.ts";
import { type Clock, every } from "../system/index.ts";
import type { ActivationParts } from "./activation.ts";
import {
  Frames,
  readFrame,
  ENGINE_SOCKET,
  SELF_PROOF_LINK,
  type WorkOwner,
  findPath,
} from "../scram/index.ts";
import type { PathKeeper } from "./path-keeper.ts";

const MINUTE_MS = 60_000;
const START_MS = 20_000;
const RECORD_MS = 24 * 60 * MINUTE_MS;
const BACK_ENDS = ["bubblewrap", "container"] as const;
/** It does what it can to live on. */
const PAYLOAD =
  "trap '' TERM INT HUP; (setsid sleep 1000 &); echo on; while :; do sleep 1000; done";
const LIMITS = {
  wall_ms: 2 * START_MS,
  cpu_seconds: 5,
  memory_bytes: 256 * 1024 * 1024,
  processes: 16,
  output_bytes: 10_000,
  file_bytes: 10_000,
  temporary_files: 1000,
  kernel_bytes: 64 * 1024 * 1024,
};

/** Whose work it is. */
export const SELF_PROOF_OWNER: WorkOwner = {
  tenant_id: "self-proof",
  run_id: `run_${"0".repeat(20)}`,
};

type Backend = (typeof BACK_ENDS)[number];

export interface SelfProofOptions {
  /** What a stop works with; asked for each time. */
  readonly parts: () => ActivationParts;
  readonly paths: PathKeeper;
  /** Whether a path may run now: nothing is stopped, or being stopped, and there is a lease. */
  readonly mayRun: () => boolean;
  readonly log: (event: string, data: JsonObject) => void;
}

/**
 * The switch proves its own channel: now and then it starts a path of its own, with the engine and in
 * a sandbox like every other, kills it by the code that carries out a stop, and looks whether it is
 * dead. It is no work: it keeps no sentinel from leaving, and trips nothing.
 */
export class SelfProof {
  readonly #options: SelfProofOptions;
  readonly #clock: Clock;
  readonly #intervalMs: number;
  #last: ScramSelfProof | null = null;
  #lastAt = 0;
  #recordedAt: number | null = null;
  #recorded: ScramSelfProof["outcome"] | null = null;
  /** Since when it is due without a result; it starts anew when nothing may run. */
  #since: number;
  #rounds = 0;
  #busy = false;
  #ended = false;

  constructor(options: SelfProofOptions) {
    const { config, clock } = options.parts();
    this.#options = options;
    this.#clock = clock;
    this.#intervalMs = config.self_proof_minutes * MINUTE_MS;
    this.#since = clock.monotonicMs();
  }

  /** @returns a function that ends it */
  watch(): () => void {
    if (this.#intervalMs === 0) return () => undefined;
    const end = every(Math.min(this.#intervalMs / 4, MINUTE_MS / 4), () => void this.#tick());
    return () => {
      this.#ended = true;
      end();
    };
  }

  /** `passed`, `failed`, `overdue`, `waiting` for the first one, or `off`; and the last result. */
  get report(): JsonObject {
    const now = this.#clock.monotonicMs();
    const last = this.#last;
    const age = last === null ? null : Math.round((now - this.#lastAt) / 1000);
    return { state: this.#state(now), age_seconds: age, last };
  }

  #state(now: number): string {
    if (this.#intervalMs === 0) return "off";
    if (this.#options.mayRun() && now - this.#since > 2 * this.#intervalMs + START_MS) {
      return "overdue";
    }
    return this.#last?.outcome ?? "waiting";
  }

  async #tick(): Promise<void> {
    const now = this.#clock.monotonicMs();
    if (this.#busy) return;
    if (!this.#options.mayRun()) {
      this.#since = now;
      return;
    }
    if (now - this.#since < this.#intervalMs) return;
    this.#busy = true;
    try {
      await this.#prove();
    } finally {
      this.#busy = false;
    }
  }

  async #prove(): Promise<void> {
    const { parts, mayRun } = this.#options;
    const startedAt = this.#clock.now().toISOString();
    const result = await this.#tryBackEnds();
    // A stop came in between: that is a better proof, with a receipt of its own.
    if (!mayRun() || this.#ended) return;
    const { installationId, config, level } = parts();
    const body: ScramSelfProof = {
      installation_id: installationId,
      started_at: startedAt,
      bound_ms: config.max_termination_ms,
      rung: level,
      ...result,
    };
    this.#last = body;
    this.#lastAt = this.#clock.monotonicMs();
    this.#since = this.#lastAt;
    await this.#record(body);
  }

  /** Each back end has its turn, where it is installed. */
  async #tryBackEnds(): Promise<Result> {
    this.#rounds += 1;
    const order = this.#rounds % 2 === 0 ? [...BACK_ENDS].reverse() : BACK_ENDS;
    let failure = "";
    for (const backend of order) {
      try {
        return await this.#once(backend);
      } catch (error) {
        failure += `${backend}: ${error instanceof Error ? error.message : "unknown"} `;
      }
    }
    const why = cutText(failure.trim(), 300);
    return {
      outcome: "failed",
      backend: "none",
      t_reaped_ms: null,
      processes: 0,
      survivors: 0,
      failure: why,
    };
  }

  async #once(backend: Backend): Promise<Result> {
    const { paths, parts } = this.#options;
    const { name, clock, config } = parts();
    await paths.readyEngine();
    const pathId = `self-proof-${randomBytes(8).toString("hex")}`;
    const end = await this.#hold(pathId, backend);
    try {
      const startedMs = clock.monotonicMs();
      const report = await paths.endCanary();
      const survivors = findPath(name, pathId).length;
      const took = report.reapedAt === null ? null : report.reapedAt - startedMs;
      const inTime = took !== null && took <= config.max_termination_ms;
      return {
        outcome: inTime && survivors === 0 ? "passed" : "failed",
        backend,
        t_reaped_ms: took === null ? null : Math.round(took * 1000) / 1000,
        processes: report.processes,
        survivors,
        failure: inTime && survivors === 0 ? null : "it was not verified dead in time",
      };
    } finally {
      end();
    }
  }

  /** Until its payload says that it runs. @returns what lets the connection to the engine go */
  async #hold(pathId: string, backend: Backend): Promise<() => void> {
    const { paths, parts } = this.#options;
    paths.expectCanary(pathId);
    const socket = connect(ENGINE_SOCKET);
    const running = new Promise<void>((resolve, reject) => {
      const frames = new Frames(socket, (kind, content) => {
        if (kind === "out") resolve();
        if (kind === "json") reject(new Error(JSON.stringify(readFrame(content)).slice(0, 200)));
      });
      socket.on("close", () => {
        reject(new Error("the engine went away"));
      });
      frames.sendJson({
        path_id: pathId,
        link_id: SELF_PROOF_LINK,
        ...SELF_PROOF_OWNER,
        minimum_level: parts().config.minimum_level,
        backend,
        stdin_bytes: 0,
        argv: ["/bin/sh", "-c", PAYLOAD],
        cwd: "/tmp",
        read_only: [],
        writable: [],
        env: {},
        limits: LIMITS,
      });
    });
    running.catch(() => undefined);
    const late = sleep(START_MS, null, { ref: false }).then(() => {
      throw new Error("its path did not start");
    });
    late.catch(() => undefined);
    try {
      await Promise.race([running, late]);
    } catch (error) {
      socket.destroy();
      await paths.endCanary();
      throw error;
    }
    return () => {
      socket.destroy();
    };
  }

  /** The journal is never cut: what is as it was is written once a day. */
  async #record(body: ScramSelfProof): Promise<void> {
    const same = this.#recorded === body.outcome && this.#recordedAt !== null;
    if (same && this.#lastAt - (this.#recordedAt ?? 0) < RECORD_MS) return;
    const { log, parts } = this.#options;
    const { signer, envelopes } = parts();
    const subject = { name: `self-proof ${body.started_at}`, sha256: digestOf(body) };
    const key = await signer();
    const signed =
      key === null ? null : signStatement([subject], predicateType("scram-self-proof"), body, key);
    if (this.#ended) return;
    const proof = signed === null ? {} : { envelopes: { proof: envelopes.put(signed) } };
    log(`self_proof.${body.outcome}`, { proof: body, ...proof });
    this.#recorded = body.outcome;
    this.#recordedAt = this.#lastAt;
  }
}

type Result = Pick<
  ScramSelfProof,
  "outcome" | "backend" | "t_reaped_ms" | "processes" | "survivors" | "failure"
>;
