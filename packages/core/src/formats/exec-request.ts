import { z } from "zod";
import { jsonObject, name } from "./common.ts";

/** A word for an operation; what is none of ours is kept, for policy to refuse it by name. */
const word = z.string().regex(/^[a-z][a-z0-9_]{0,40}(\.[a-z][a-z0-9_]{0,40})?$/);

/** UTC, with or without milliseconds. */
const instant = z
  .string()
  .regex(
    /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{3})?Z$/,
    "expected a UTC time such as 2026-01-31T23:59:59Z",
  );

const idOf = (prefix: string): z.ZodString =>
  z.string().regex(new RegExp(`^${prefix}[a-z0-9_]{1,64}$`), `expected ${prefix}…`);

/** Git cuts other signs off a name's ends, and reads longer ones otherwise in a mail. */
const person = z
  .string()
  .regex(
    /^[\p{L}\p{N}](?:[\p{L}\p{M}\p{N} ._'’-]{0,57}[\p{L}\p{M}\p{N}])? <[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9][A-Za-z0-9.-]{0,189}>$/u,
    "expected Name <address>, such as Ada Lovelace <ada@example.org>",
  );

const operation = z.strictObject({
  op_id: z.string().regex(/^[a-z][a-z0-9_]{0,40}$/),
  action: word,
  params: jsonObject,
});

const step = z.strictObject({
  /** `step_01`, `step_02`, …, in this order: the number names commit and patch. */
  step_id: z.string().regex(/^step_\d{2,3}$/),
  operations: z.array(operation).min(1).max(1000),
  /** Words of whoever wrote the request: the first line is the commit's subject. */
  commit_message: z.string().max(8000).default(""),
});

const question = z.strictObject({
  question_id: idOf("q_"),
  type: z.enum(["clarification", "blocker", "optimization", "risk_mitigation"]),
  blocking_level: z.enum(["blocking", "non_blocking"]),
  question: z.string().min(1).max(4000),
  evidence_refs: z.array(z.string().max(500)).max(100).default([]),
  /** How many references an answer must give. */
  min_evidence: z.int().min(0).max(100).default(1),
});

/** What must be answered before a request may run. `full_auto` allows no question at all. */
export const questionPack = z
  .strictObject({
    question_pack_id: idOf("qpack_"),
    questions: z.array(question).max(200),
    policy_constraints: z.strictObject({
      execution_mode: z.enum(["interactive", "semi_auto", "full_auto"]),
      question_budget: z.int().min(0).max(200),
      question_policy: z.string().max(200).optional(),
    }),
  })
  .refine(
    (pack) => pack.policy_constraints.execution_mode !== "full_auto" || pack.questions.length === 0,
    "full_auto asks no questions",
  )
  .refine(
    (pack) => pack.questions.length <= pack.policy_constraints.question_budget,
    "more questions than the budget allows",
  );
export type QuestionPack = z.infer<typeof questionPack>;

/** Answers to a question pack, each with what it rests on. */
export const answerPack = z.strictObject({
  answer_pack_id: idOf("apack_"),
  question_pack_id: idOf("qpack_"),
  answers: z
    .array(
      z.strictObject({
        question_id: idOf("q_"),
        answer: z.string().min(1).max(8000),
        evidence_refs: z.array(z.string().min(1).max(500)).max(100),
      }),
    )
    .max(200),
  answered_by: name,
  answered_at: instant,
});
export type AnswerPack = z.infer<typeof answerPack>;

/** One request to change a repository, as the seed names it. */
export const execRequest = z
  .strictObject({
    exec_request_id: z
      .string()
      .regex(/^exec_req_[a-z0-9_]{6,64}$/, "expected exec_req_ and 6 to 64 of a-z 0-9 _"),
    schema_version: z.string().max(20),
    created_at: instant,
    task_id: z.string().max(100).optional(),
    intent_id: idOf("intent_").optional(),
    dry_execution_result_id: idOf("dryexec_").optional(),
    /** Only `implementation` may commit. */
    mode_id: z.string().max(60).default("implementation"),
    execution_mode: z.enum(["worktree", "controlled", "dry_run_only"]).default("worktree"),
    /** Narrows what the steps may ask for, whatever the policy allows. */
    allowed_operations: z.array(word).max(50).optional(),
    requires_review: z.boolean().default(false),
    approval_ref: z.string().max(200).nullable().optional(),
    role: name.default("executor"),
    /** Whom the commits name as their author; the executor where it is absent. */
    author: person.optional(),
    /** Whom the commits name beside the author. */
    co_authors: z.array(person).max(20).optional(),
    question_pack: questionPack.optional(),
    patch_plan: z.strictObject({ steps: z.array(step).min(1).max(200) }),
  })
  .refine(
    ({ patch_plan: { steps } }) =>
      steps.every((one, index) => Number(one.step_id.slice(5)) === index + 1),
    "steps are numbered step_01, step_02, … in order",
  )
  .refine(
    ({ patch_plan: { steps } }) =>
      steps.every(
        (one) => new Set(one.operations.map((op) => op.op_id)).size === one.operations.length,
      ),
    "op_id is unique in its step",
  );
export type ExecRequest = z.infer<typeof execRequest>;
