import {
  type Action,
  digestOf,
  type ExecRequest,
  formats,
  isKnownOperation,
  type JsonObject,
  type JsonValue,
  operationType,
  parseFormat,
  parseStrictJson,
  requestWord,
  SovereignError,
  sha256Hex,
  utf8Encode,
} from "@sovereign/core";

const BYTES_MAX = 64 * 1024 * 1024;

/** An operation in our vocabulary: the action it becomes, and the bytes that it brings. */
export interface PlannedOperation {
  readonly opId: string;
  /** As the request has it. */
  readonly word: string;
  readonly action: Action;
  readonly content: Uint8Array | null;
}

export interface PlannedStep {
  readonly stepId: string;
  readonly note: string;
  readonly operations: readonly PlannedOperation[];
}

/** A request that was read: frozen by its digest. */
export interface PlannedRequest {
  readonly request: ExecRequest;
  /** SHA-256 of the request's canonical form, as it was written. */
  readonly digest: string;
  readonly steps: readonly PlannedStep[];
}

/**
 * Read a request. An operation may be named by any of its action's words: see `RequestForm.words`.
 *
 * @param bytes untrusted JSON
 * @throws ERR_REQUEST_INVALID
 */
export function parseExecRequest(bytes: Uint8Array, path: string): PlannedRequest {
  const value = readJson(bytes, path);
  const request = parseFormat(formats.execRequest, value, path, "ERR_REQUEST_INVALID");
  requireTime(request.created_at, path);
  const steps = request.patch_plan.steps.map((step) => ({
    stepId: step.step_id,
    note: noteOf(step),
    operations: step.operations
      .filter((one) => !isCommitWord(one.action))
      .map((one) => planOperation(one, `${path}: ${step.step_id}.${one.op_id}`)),
  }));
  return { request, digest: digestOf(value), steps };
}

/** It becomes the time of commits: a day that is in the calendar, and that git can write. */
function requireTime(text: string, path: string): void {
  const ms = Date.parse(text);
  const written = Number.isNaN(ms) ? "" : new Date(ms).toISOString();
  if (ms >= 0 && ms < Date.UTC(2100, 0) && written.startsWith(text.slice(0, 19))) return;
  const found = `at created_at: expected a time from 1970 to 2099, found ${text}`;
  throw new SovereignError("ERR_REQUEST_INVALID", `${path}: ${found}`);
}

function readJson(bytes: Uint8Array, path: string): JsonValue {
  try {
    return parseStrictJson(bytes, { bytesMax: BYTES_MAX });
  } catch (cause) {
    const found = cause instanceof SovereignError ? cause.message : "not JSON";
    throw new SovereignError("ERR_REQUEST_INVALID", `${path}: ${found}`, {}, cause);
  }
}

type RequestStep = ExecRequest["patch_plan"]["steps"][number];
type RequestOperation = RequestStep["operations"][number];

/** Every step ends in one commit, whether the request says so or not. */
function isCommitWord(action: string): boolean {
  return requestWord(action)?.plan === null;
}

function noteOf(step: RequestStep): string {
  const said = step.operations
    .filter((one) => isCommitWord(one.action))
    .map((one) => one.params["message"])
    .filter((message) => typeof message === "string");
  return [step.commit_message, ...said].filter((text) => text !== "").join("\n");
}

/** Of the actions of a step, this is the name of its commit. */
const COMMIT = "commit";

function planOperation(operation: RequestOperation, where: string): PlannedOperation {
  if (operation.op_id === COMMIT) {
    const found = `at op_id: "${COMMIT}" names the step's own commit, found ${operation.action}`;
    throw new SovereignError("ERR_REQUEST_INVALID", `${where}: ${found}`);
  }
  const { op_id: opId, action: word } = operation;
  const type = operationType(word);
  // Nobody defined it, and no effect is there for it: the kernel refuses it by name, on record.
  const planned = requestWord(word)?.plan?.(operation.params, word, where);
  const { resource, params, content } = planned ?? { resource: opId, params: {}, content: null };
  return { opId, word, action: { type, resource, params }, content };
}

/**
 * Hold a request to what it says of itself.
 *
 * @throws ERR_REQUEST_MODE when its mode may not commit
 * @throws ERR_OPERATION_REFUSED when a step asks for what `allowed_operations` does not name
 */
export function requireRunnable({ request, steps }: PlannedRequest): void {
  if (request.mode_id !== "implementation" || request.execution_mode === "dry_run_only") {
    const found = `mode_id ${request.mode_id}, execution_mode ${request.execution_mode}`;
    throw new SovereignError(
      "ERR_REQUEST_MODE",
      `${request.exec_request_id}: expected mode_id implementation and an execution_mode that runs, found ${found}. See what it would do with: sovereign exec plan`,
    );
  }
  if (request.allowed_operations === undefined) return;
  const allowed = new Set(request.allowed_operations.map(operationType));
  for (const step of steps) {
    const other = step.operations.find((one) => !allowed.has(one.action.type));
    if (other === undefined || !isKnownOperation(other.action.type)) continue;
    throw new SovereignError(
      "ERR_OPERATION_REFUSED",
      `${step.stepId}.${other.opId}: the request's own allowed_operations do not name ${other.word}.`,
      { step: step.stepId },
    );
  }
}

/** What the plan says of a step: everything but the contents, which go by digest. */
export function planSummary(planned: PlannedRequest): JsonObject[] {
  return planned.steps.map((step) => ({
    step_id: step.stepId,
    note_sha256: sha256Hex(utf8Encode(step.note)),
    operations_digest: digestOf(
      step.operations.map((one) => ({ op_id: one.opId, action: one.action })),
    ),
    operations: step.operations.length,
  }));
}

/** Seconds since 1970 of the request's own time: the date of its commits, wherever it runs. */
export function requestSeconds({ request }: PlannedRequest): number {
  return Math.floor(Date.parse(request.created_at) / 1000);
}
