import {
  type Action,
  type ActionContext,
  type EntryData,
  isSovereignError,
  type LedgerEntry,
  parseCanonicalJson,
} from "@sovereign/core";
import type { Completed, Kernel } from "../kernel/index.ts";
import type { RunStore, StepRow } from "./ports.ts";

interface Attempt {
  readonly action: Action;
  readonly context: ActionContext;
}

/** The last attempt of a step that was authorised, as the ledger has it; null where there is none. */
export async function readAuthorized(
  store: RunStore,
  { tenantId, runId }: { readonly tenantId: string; readonly runId: string },
  { stepId, attempt }: StepRow,
): Promise<Attempt | null> {
  let found: Attempt | null = null;
  for await (const { bytes } of store.readStream(tenantId, runId)) {
    const { event_type: event, data } = parseCanonicalJson(bytes) as unknown as LedgerEntry;
    if (event !== "execution.authorized") continue;
    const { action, context } = data as EntryData<"execution.authorized">;
    if (context.step_id === stepId && context.attempt === attempt) found = { action, context };
  }
  return found;
}

/**
 * Record what an attempt did whose process died before it could, where nobody asks for the step again.
 * @returns its end; null where it did not happen, or nobody can tell
 * @throws ERR_STORE_UNAVAILABLE
 */
export async function recallOpen(
  {
    kernel,
    store,
    plan,
    signal,
  }: {
    readonly kernel: Kernel;
    readonly store: RunStore;
    readonly plan: { readonly tenantId: string; readonly runId: string };
    readonly signal: AbortSignal;
  },
  step: StepRow,
): Promise<Completed | null> {
  const attempt = await readAuthorized(store, plan, step);
  if (attempt === null) return null;
  try {
    const outcome = await kernel.recall({ ...attempt, signal });
    return outcome?.status === "COMPLETED" ? outcome : null;
  } catch (error) {
    if (isSovereignError(error, "ERR_STORE_UNAVAILABLE")) throw error;
    // What could tell is not there any more.
    return null;
  }
}
