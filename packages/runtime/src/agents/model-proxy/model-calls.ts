import type { ErrorCode, ModelCallEnd, ModelUsage, ModelWire } from "@sovereign/core";

/** A call that a run wants to make, before anything of it is sent. */
export interface ModelCallRequest {
  readonly wire: ModelWire;
  /** The name of the vendor in `sovereign models list`. */
  readonly vendor: string;
  readonly model: string;
  readonly request: { readonly sha256: string; readonly bytes: number };
  readonly inputTokens: number;
  readonly cachesForAnHour: boolean;
  readonly outputTokensMax: number;
}

export type ModelCallVerdict =
  | { readonly allowed: true; readonly call: string }
  | { readonly allowed: false; readonly code: ErrorCode; readonly reason: string };

/** How a call ended. */
export interface ModelCallOutcome {
  readonly ended: ModelCallEnd;
  readonly status: number | null;
  readonly answer: { readonly sha256: string; readonly bytes: number } | null;
  readonly usage: ModelUsage | null;
}

/**
 * What a run says to a model call: the policy's decision, the budget, and the record of both.
 * Implemented by `ModelCallDesk` for whoever has a run's recorder.
 */
export interface ModelCalls {
  /**
   * Decide on a call, and hold what it may cost. Durable when it resolves, either way.
   * @throws ERR_STORE_UNAVAILABLE, ERR_RUN_FENCED: then nothing may be sent
   */
  reserve(request: ModelCallRequest): Promise<ModelCallVerdict>;
  /**
   * Record how a call ended, and count what it cost. Durable when it resolves.
   * @throws ERR_STORE_UNAVAILABLE, ERR_RUN_FENCED: then its last bytes are not handed on
   */
  settle(call: string, outcome: ModelCallOutcome): Promise<void>;
  /** Nobody will tell how the open calls ended: each counts as what was held for it. */
  abandon?(): Promise<void>;
}
