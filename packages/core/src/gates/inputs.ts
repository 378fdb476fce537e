import { utf8Decode, utf8Encode } from "../bytes/index.ts";
import type { z } from "zod";
import { sha256Hex } from "../digest/index.ts";
import {
  type AnswerPack,
  type ArtifactRef,
  type Checksums,
  type Dialect,
  type EntryData,
  type ExecRequest,
  type ExecutionResult,
  formats,
  type IntentStatus,
  type JsonObject,
  type JsonValue,
  parseFormat,
  type PlacedEntry,
  type QuestionPack,
  type RepositoryRollbackProof,
  type SandboxProof,
  type TapeEvent,
} from "../formats/index.ts";
import { parseStrictJson } from "../json/index.ts";
import { consentsIn } from "../keys/index.ts";
import { isCommandLog, type PackRead, readTool, type ToolGateInputs } from "./tool-inputs.ts";

/** An action that the ledger says was authorised, with its end. */
export interface LedgerAction {
  readonly stepId: string;
  readonly type: string;
  readonly resource: string;
  readonly params: JsonObject;
  readonly effect: "allow" | "deny" | "step_up";
  /** What of the policy decided. */
  readonly rules: readonly string[];
  /** The dialect in which policy decided: 1 where the decision does not say. */
  readonly dialect: 1 | Dialect;
  readonly approvals: number;
  readonly approvalsRequired: number;
  /** Null where it did not complete. */
  readonly output: JsonValue;
  readonly completed: boolean;
}

/** A refusal that the ledger records. */
export interface LedgerRefusal {
  readonly event: string;
  readonly stepId: string;
  readonly code: string;
}

/** Everything that gates judge: typed documents, and what the ledger says. Null where absent. */
export interface GateInputs {
  readonly request: ExecRequest | null;
  readonly requestValue: JsonValue;
  readonly intent: IntentStatus | null;
  readonly questions: QuestionPack | null;
  readonly answers: AnswerPack | null;
  readonly tape: readonly TapeEvent[] | null;
  readonly checksums: Checksums | null;
  readonly result: ExecutionResult | null;
  readonly sandboxProof: SandboxProof | null;
  readonly rollbackProof: RepositoryRollbackProof | null;
  /** Patches as text, by the artifact's name. */
  readonly patches: ReadonlyMap<string, string>;
  /** Every artifact that the ledger names, by name: SHA-256. */
  readonly artifacts: ReadonlyMap<string, string>;
  readonly actions: readonly LedgerAction[];
  readonly refusals: readonly LedgerRefusal[];
  /** Our own sources, where the release is judged and not a run. */
  readonly sources: readonly SourceImports[] | null;
  readonly taskPack: PackRead | null;
  readonly resultPack: PackRead | null;
  /** What the gates of tools judge; null for a run that no task pack was issued for. */
  readonly tool: ToolGateInputs | null;
}

/** What a source file of ours imports. */
export interface SourceImports {
  readonly path: string;
  readonly imports: readonly string[];
}

/** The names under which the documents stand in a run. */
export const GATE_DOCUMENTS = {
  request: "02_dryrun/exec_request.json",
  intent: "01_intent/status.json",
  questions: "01_intent/question_pack.json",
  answers: "01_intent/answer_pack.json",
  tape: "audit/run_tape.jsonl",
  checksums: "audit/checksums.json",
  result: "execution_result.json",
  sandboxProof: "03_executor/sandbox_proof.json",
  rollbackProof: "03_executor/rollback_proof.json",
  taskPack: "01_intent/tool_task_pack.json",
  resultPack: "04_verification/tool_result_pack.json",
} as const;
Object.freeze(GATE_DOCUMENTS);

/**
 * True for the artifacts whose bytes gates read.
 * @param ofTool true for a run that a task pack was issued for: see {@link isToolRun}
 */
export function isGateInput(name: string, ofTool = false): boolean {
  const isDocument = (Object.values(GATE_DOCUMENTS) as string[]).includes(name);
  return isDocument || isPatch(name) || (ofTool && isCommandLog(name));
}

/** True for a run that a task pack was issued for: its gates read what its commands said, too. */
export function isToolRun(entries: readonly PlacedEntry[]): boolean {
  return artifactsOf(entries).some((one) => one.name === GATE_DOCUMENTS.taskPack);
}

function isPatch(name: string): boolean {
  return /^patches\/step_\d{2,3}\.patch$/.test(name);
}

/**
 * Read what gates judge from a run's artifacts and its entries.
 *
 * @param contents artifacts' bytes by name; untrusted but for their digests, which the caller held
 *   against the ledger
 * @throws ERR_FORMAT_INVALID, ERR_JSON_… when a document is not of its format
 */
export function readGateInputs(
  contents: ReadonlyMap<string, Uint8Array>,
  entries: readonly PlacedEntry[],
): GateInputs {
  const value = (name: string): JsonValue => {
    const bytes = contents.get(name);
    return bytes === undefined ? null : parseStrictJson(bytes);
  };
  const read = <T extends z.ZodType>(format: T, name: string): z.infer<T> | null => {
    const found = value(name);
    return found === null ? null : parseFormat(format, found, name);
  };
  const names = GATE_DOCUMENTS;
  const result = read(formats.executionResult, names.result);
  const checksums = read(formats.checksums, names.checksums);
  return {
    request: read(formats.execRequest, names.request),
    requestValue: value(names.request),
    intent: read(formats.intentStatus, names.intent),
    questions: read(formats.questionPack, names.questions),
    answers: read(formats.answerPack, names.answers),
    tape: readTape(contents.get(names.tape)),
    checksums,
    result,
    sandboxProof: read(formats.sandboxProof, names.sandboxProof),
    rollbackProof: read(formats.repositoryRollbackProof, names.rollbackProof),
    patches: new Map(
      [...contents].filter(([name]) => isPatch(name)).map(([name, bytes]) => [name, latin1(bytes)]),
    ),
    artifacts: new Map(artifactsOf(entries).map((one) => [one.name, one.sha256])),
    actions: actionsOf(entries),
    refusals: refusalsOf(entries),
    sources: null,
    ...readTool(contents, entries, { result, checksums }),
  };
}

function readTape(bytes: Uint8Array | undefined): TapeEvent[] | null {
  if (bytes === undefined) return null;
  return utf8Decode(bytes)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => parseFormat(formats.tapeEvent, parseStrictJson(utf8Encode(line)), "run tape"));
}

/** A patch holds bytes of any kind; only its head, which is ASCII, is looked at. */
function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes.subarray(0, 65_536)) text += String.fromCharCode(byte);
  return text;
}

function artifactsOf(entries: readonly PlacedEntry[]): ArtifactRef[] {
  return entries.flatMap(({ entry }) => {
    const named = ["execution.completed", "evidence.recorded"].includes(entry.event_type);
    return named ? (entry.data as EntryData<"evidence.recorded">).artifacts : [];
  });
}

function actionsOf(entries: readonly PlacedEntry[]): LedgerAction[] {
  const ends = new Map<string, JsonValue>();
  for (const { entry } of entries) {
    if (entry.event_type !== "execution.completed") continue;
    const { step_id, attempt, output } = entry.data as EntryData<"execution.completed">;
    ends.set(`${step_id} ${attempt}`, output);
  }
  return entries.flatMap(({ entry }) => {
    if (entry.event_type !== "execution.authorized") return [];
    const data = entry.data as EntryData<"execution.authorized">;
    const { action, context, decision } = data;
    const place = `${context.step_id} ${context.attempt}`;
    return {
      stepId: context.step_id,
      type: action.type,
      resource: action.resource,
      params: action.params,
      effect: decision.effect,
      rules: decision.rules,
      dialect: decision.dialect ?? 1,
      approvals: consentsIn(data),
      approvalsRequired: decision.approvals?.required ?? 0,
      output: ends.get(place) ?? null,
      completed: ends.has(place),
    };
  });
}

const REFUSALS = ["denied", "pending", "blocked", "aborted", "killed", "failed"];

function refusalsOf(entries: readonly PlacedEntry[]): LedgerRefusal[] {
  return entries.flatMap(({ entry }) => {
    const [noun, past = ""] = entry.event_type.split(".");
    if (noun !== "execution" || !REFUSALS.includes(past)) return [];
    const { step_id, code } = entry.data as EntryData<"execution.denied">;
    return { event: entry.event_type, stepId: step_id, code };
  });
}

/** The digests of what was judged, for the receipt. */
export function gateInputDigests(
  contents: ReadonlyMap<string, Uint8Array>,
  ofTool = false,
): Record<string, string> {
  const judged = [...contents].filter(([name]) => isGateInput(name, ofTool));
  return Object.fromEntries(
    judged
      .map(([name, bytes]): [string, string] => [name, sha256Hex(bytes)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}
