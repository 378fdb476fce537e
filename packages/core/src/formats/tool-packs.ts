import { z } from "zod";
import { count, digest, isDay, runId } from "./common.ts";
import { gitId } from "./exec-evidence.ts";

const idOf = (prefix: string): z.ZodString =>
  z.string().regex(new RegExp(`^${prefix}[a-z0-9_]{1,64}$`), `expected ${prefix}…`);

/** UTC, with or without milliseconds. */
const instant = z
  .string()
  .regex(
    /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{3})?Z$/,
    "expected a UTC time such as 2026-01-31T23:59:59Z",
  )
  .refine(isDay, "expected a day that there is");

/** Signs that cannot be seen, and those that other systems take for a separator. */
const ODD_SIGN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\\]/u;

/** True for a path below the root: no `..`, no empty name, no root, nothing that cannot be seen. */
function isBelowRoot(path: string): boolean {
  if (ODD_SIGN.test(path)) return false;
  return path.split("/").every((name) => name !== "" && name !== "." && name !== "..");
}

const path = z
  .string()
  .min(1)
  .max(1024)
  .refine(isBelowRoot, "expected a path below the repository's root, such as src/parse.ts");

/** `.` for all of the repository. In a name `*` stands for any signs, `**` for any names. */
const pattern = z
  .string()
  .min(1)
  .max(400)
  .refine(
    (text) => text === "." || (isBelowRoot(text) && text.split("/").length <= 28),
    "expected a path below the repository's root, such as src or docs/**, of at most 28 names",
  );

/** Where a tool may change files, and where not. */
export const workScope = z.strictObject({
  allowed_directories: z.array(pattern).min(1).max(100),
  forbidden_paths: z.array(pattern).max(100),
});
export type WorkScope = z.infer<typeof workScope>;

/** The seed's words for tools, and `acp`. */
export const toolType = z.enum(["claude_cli", "codex", "opencode", "acp", "custom"]);
export type ToolType = z.infer<typeof toolType>;

const sentence = z.string().min(1).max(4000);
const sentences = z.array(sentence).max(100);
const command = z.string().min(1).max(4000);
const commands = z.array(command).max(50);

const taskStep = z.strictObject({
  step_id: z.string().regex(/^[a-z][a-z0-9_]{0,40}$/, "expected a-z 0-9 _, such as step_01"),
  goal: z.string().min(1).max(150_000),
  constraints: z.strictObject({ must: sentences, must_not: sentences }).exactOptional(),
  /** Files that the result has to have changed or made. */
  expected_artifacts: z.array(path).max(200).exactOptional(),
  verification_commands: commands.exactOptional(),
});

/** What a tool is asked to do, in the seed's words. */
export const toolTaskPack = z.strictObject({
  tool_task_pack_id: idOf("ttpack_"),
  schema_version: z.string().min(1).max(20),
  execution_request_id: z.string().max(100).exactOptional(),
  created_at: instant.exactOptional(),
  tool_type: toolType,
  repo_state: z.strictObject({
    branch: z.string().max(300).nullable(),
    commit_hash: gitId,
    /** Null where nobody looked: edits without a commit are no part of the work. */
    is_dirty: z.boolean().nullable(),
    /** Null where it is not told: it may hold a password. */
    remote_url: z.string().max(2000).nullable(),
  }),
  work_scope: workScope,
  steps: z.array(taskStep).min(1).max(50),
  prompt_pack: z.strictObject({
    system_prompt: z.string().max(50_000).nullable().exactOptional(),
    red_lines: sentences,
    examples: z.array(z.string().max(20_000)).max(20).exactOptional(),
  }),
  acceptance: z.strictObject({
    gates: z.array(z.string().max(40)).max(50),
    /** Commands that have to succeed on the result, besides those of the steps. */
    tests: commands,
    policy_checks: z.array(z.string().max(100)).max(50),
  }),
  /** Null where a limit is the policy's. */
  limits: z
    .strictObject({
      timeout_seconds: z.int().min(1).max(86_400).nullable(),
      turns: z.int().min(1).max(100_000).nullable(),
      /** Millionths of a dollar. */
      budget_microusd: z.int().min(0).max(1_000_000_000_000).nullable(),
    })
    .exactOptional(),
  /** SHA-256 of the policy that the work is under. */
  policy_digest: digest.exactOptional(),
  metadata: z
    .strictObject({
      priority: z.string().max(40).exactOptional(),
      estimated_complexity: z.string().max(40).exactOptional(),
      timeout_minutes: z.int().min(1).max(1440).exactOptional(),
      /** A person has to approve the result before it is applied. */
      requires_review: z.boolean().exactOptional(),
      /** The tool's version that is wanted. */
      tool_version: z.string().min(1).max(60).exactOptional(),
      model_name: z.string().min(1).max(200).exactOptional(),
    })
    .exactOptional(),
});
export type ToolTaskPack = z.infer<typeof toolTaskPack>;

const violation = z.strictObject({
  /** What was violated: an error's code, or `work_scope`. */
  rule: z.string().max(80),
  severity: z.enum(["info", "warning", "error", "critical"]),
  message: z.string().max(1000),
  /** The file, or the step of the run. */
  place: z.string().max(1100).nullable(),
});
export type ToolViolation = z.infer<typeof violation>;

const claimValue = z.union([z.string().max(2000), z.number(), z.boolean(), z.null()]);

/** What a tool's work came to, in the seed's words. All of it can be computed from the evidence. */
export const toolResultPack = z.strictObject({
  tool_result_pack_id: idOf("trpack_"),
  tool_task_pack_id: idOf("ttpack_"),
  schema_version: z.string().min(1).max(20),
  run_id: runId.exactOptional(),
  tool_type: toolType,
  status: z.enum(["success", "partial_success", "failed", "cancelled"]),
  diffs: z
    .array(
      z.strictObject({
        file_path: z.string().min(1).max(1024),
        diff_type: z.enum(["added", "modified", "deleted"]),
        /** As git writes it; null for what is no text, or is too much. */
        patch: z.string().max(200_000).nullable(),
        /** SHA-256 of the bytes in git; null where there is no file. */
        checksum_before: digest.nullable(),
        checksum_after: digest.nullable(),
      }),
    )
    .max(20_000),
  artifacts: z.strictObject({
    files_created: z.array(z.string().max(1024)).max(20_000),
    files_modified: z.array(z.string().max(1024)).max(20_000),
    files_deleted: z.array(z.string().max(1024)).max(20_000),
    commits: z
      .array(
        z.strictObject({
          commit_hash: gitId,
          message: z.string().max(20_000),
          files_changed: count,
        }),
      )
      .max(1000),
  }),
  /** The last of what each kind of command said; null where there was none. */
  test_logs: z.strictObject({
    build_output: z.string().max(600_000).nullable(),
    test_output: z.string().max(600_000).nullable(),
    lint_output: z.string().max(600_000).nullable(),
    commands: z
      .array(
        z.strictObject({
          argv: z.array(z.string().max(8000)).min(1).max(1001),
          passed: z.boolean(),
          log_sha256: digest.nullable(),
        }),
      )
      .max(1000)
      .exactOptional(),
  }),
  run_metadata: z.strictObject({
    /** Null where the tool's program was never known. */
    tool_version: z.string().max(60).nullable(),
    program_sha256: digest.nullable().exactOptional(),
    model_name: z.string().max(200).nullable(),
    execution_time_seconds: z.number().min(0).nullable(),
    /** Null where a call has no known price. */
    cost_usd: z.number().min(0).nullable(),
    tokens_used: count.nullable(),
    prompt_hash: digest.nullable().exactOptional(),
    /** No tool here takes one. */
    seed: z.int().nullable().exactOptional(),
  }),
  policy_attestation: z.strictObject({
    scope_compliant: z.boolean(),
    red_lines_respected: z.boolean(),
    violations: z.array(violation).max(200),
  }),
  /** Null where no review is required. */
  reviewer_signoff: z
    .strictObject({
      approved: z.boolean(),
      approvals: count,
      reviewers: z.array(z.string().max(100)).max(100),
    })
    .nullable()
    .exactOptional(),
  /** What the tool says of its own work. Nobody relies on it. */
  claims: z.record(z.string().max(60), claimValue).nullable().exactOptional(),
  /** Where a claim is not what was found. */
  disagreements: z
    .array(z.strictObject({ field: z.string().max(200), claimed: claimValue, found: claimValue }))
    .max(200)
    .exactOptional(),
  started_at: instant,
  completed_at: instant,
  error: z.strictObject({ code: z.string().max(80), message: z.string().max(2000) }).nullable(),
});
export type ToolResultPack = z.infer<typeof toolResultPack>;

/** "This task was given to a tool, in this run." Signed by the key of the role that works. */
export const toolTaskStatement = z.strictObject({
  run_id: runId,
  role: z.string().max(100),
  tool_task_pack_id: toolTaskPack.shape.tool_task_pack_id,
  /** Of the pack in canonical form. */
  sha256: digest,
  base_commit: gitId,
  policy_digest: digest,
});
export type ToolTaskStatement = z.infer<typeof toolTaskStatement>;

/** "This is what it came to." Signed by the key of purpose `attestation`. */
export const toolResultStatement = z.strictObject({
  run_id: runId,
  tool_result_pack_id: toolResultPack.shape.tool_result_pack_id,
  sha256: digest,
});
export type ToolResultStatement = z.infer<typeof toolResultStatement>;
