import { join } from "node:path";
import {
  answerGaps,
  type AnswerPack,
  type ArtifactRef,
  canonicalBytes,
  cutText,
  formats,
  GATE_DOCUMENTS,
  type IntentStatus,
  type JsonValue,
  parseFormat,
  parseStrictJson,
  type QuestionPack,
  SCHEMA_VERSION,
  SovereignError,
} from "@sovereign/core";
import { type Clock, timestampOf, readOwnFile } from "../../system/index.ts";
import { ArtifactStore } from "../../runs/index.ts";
import type { ExecContext, FrozenExec } from "./exec-context.ts";

/** What a person wrote; a request is not larger. */
const BYTES_MAX = 16 * 1024 * 1024;

/** Whether a request may run: its blocking questions are answered, or it has none. */
export function intentOf({ folder, runId }: ExecContext, { planned }: FrozenExec): IntentStatus {
  const pack = planned.request.question_pack ?? null;
  const answers = readAnswers(folder);
  const open = pack === null ? [] : openQuestions(pack, answers);
  const status = open.length > 0 ? "BLOCKED" : answers === null ? "READY" : "RESUMED";
  return { schema_version: SCHEMA_VERSION, run_id: runId, status, open_questions: open };
}

/** Write status, questions and answers where the gates read them. */
export async function writeIntent(
  { artifacts, folder }: ExecContext,
  { planned }: FrozenExec,
  intent: IntentStatus,
): Promise<ArtifactRef[]> {
  const put = (name: string, value: JsonValue): Promise<ArtifactRef> =>
    artifacts.put(name, canonicalBytes(value), "application/json");
  const refs = [await put(GATE_DOCUMENTS.intent, intent)];
  const pack = planned.request.question_pack;
  if (pack !== undefined) refs.push(await put(GATE_DOCUMENTS.questions, pack as JsonValue));
  const answers = readAnswers(folder);
  if (answers !== null) refs.push(await put(GATE_DOCUMENTS.answers, answers));
  return refs;
}

/** A request may run without answers to the others; those that are given answer all. */
function openQuestions(pack: QuestionPack, answers: AnswerPack | null): string[] {
  return answerGaps(pack, answers)
    .filter(({ question }) => question.blocking_level === "blocking")
    .map(({ question }) => question.question_id);
}

const SHOWN_CHARS_MAX = 1500;

/** What is asked, for the person who has to answer it. */
export function openText(pack: QuestionPack | undefined, open: readonly string[]): string {
  const asked = open.map((id) => {
    const found = pack?.questions.find((one) => one.question_id === id);
    return found === undefined ? id : `${id}: ${cutText(found.question, 300)}`;
  });
  const count =
    open.length === 1 ? "1 blocking question is" : `${open.length} blocking questions are`;
  return cutText(`${count} open. ${asked.join(" | ")}`, SHOWN_CHARS_MAX);
}

export function readAnswers(folder: string): AnswerPack | null {
  const path = join(folder, GATE_DOCUMENTS.answers);
  const bytes = readOwnFile(path, BYTES_MAX);
  if (bytes === null) return null;
  return parseFormat(formats.answerPack, parseStrictJson(bytes), path);
}

/** A pack to be filled in: every question with what it wants. */
export function answerTemplate(pack: QuestionPack, clock: Clock): AnswerPack {
  return {
    answer_pack_id: pack.question_pack_id.replace(/^qpack_/, "apack_"),
    question_pack_id: pack.question_pack_id,
    answers: pack.questions.map((one) => ({
      question_id: one.question_id,
      answer: cutText(`(answer: ${one.question})`, 8000),
      evidence_refs: [],
    })),
    answered_by: "operator",
    answered_at: timestampOf(clock),
  };
}

/**
 * Take answers for a run that waits for them.
 *
 * @param bytes untrusted JSON
 * @throws ERR_ANSWERS_INVALID when they are not for its questions, or leave one open
 */
export async function applyAnswers(
  folder: string,
  pack: QuestionPack | undefined,
  bytes: Uint8Array,
): Promise<ArtifactRef> {
  const answers = parseFormat(
    formats.answerPack,
    readJson(bytes),
    "answers",
    "ERR_ANSWERS_INVALID",
  );
  const wanted = new Set(pack?.questions.map((one) => one.question_id));
  const foreign = answers.answers.find((one) => !wanted.has(one.question_id));
  if (pack === undefined || answers.question_pack_id !== pack.question_pack_id) {
    throw invalid(`expected answers to ${pack?.question_pack_id ?? "no questions"}`);
  }
  if (foreign !== undefined) throw invalid(`there is no question ${foreign.question_id}`);
  const gaps = answerGaps(pack, answers).map(({ gap }) => gap);
  if (gaps.length > 0) throw invalid(`${gaps.join("; ")} (evidence_refs)`);
  const store = new ArtifactStore(folder);
  return store.put(GATE_DOCUMENTS.answers, canonicalBytes(answers), "application/json");
}

function readJson(bytes: Uint8Array): JsonValue {
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    throw invalid(cause instanceof Error ? cause.message.replace(/\.$/, "") : "not JSON", cause);
  }
}

function invalid(found: string, cause?: unknown): SovereignError {
  return new SovereignError("ERR_ANSWERS_INVALID", `answers: ${found}.`, {}, cause);
}
