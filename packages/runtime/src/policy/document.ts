import { fields, policyWords } from "@sovereign/core";
import { z } from "zod";

const LIST_MAX = 500;
const glob = z.string().min(1).max(300);
const host = z.string().min(1).max(253);
const operation = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,40}\.[a-z_][a-z0-9_]{0,40}$/, "expected noun.verb");
const id = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/);

const toolName = z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,99}$/, "expected a name");

const command = z.strictObject({
  id,
  executable: z.string().min(1).max(200),
  /** Patterns, each of one whole argument; every argument must match one of them. */
  allowed_args: z.array(glob).max(LIST_MAX).default([]),
});

/** The kinds of project whose tools are found at their usual places. */
export const PRESETS = ["node", "python", "rust", "go", "java"] as const;
export type PresetName = (typeof PRESETS)[number];

const toolPath = z
  .string()
  .min(1)
  .max(1024)
  .regex(/^\P{Cc}+$/u, "expected no control characters");

/** A file or folder of the machine that commands see besides the system and the work tree. */
const toolMount = z.strictObject({
  /** Absolute, below the home folder (`~/…`), or relative to the work tree. */
  path: toolPath,
  /** Where commands see it; the same path, or the same place below `/workspace`. */
  at: toolPath.optional(),
  /** SHA-256 that its contents must have; `sovereign exec plan` shows it. */
  digest: fields.digest.optional(),
  /** Commands write into a copy, which is thrown away with the run. */
  copy: z.boolean().default(false),
});

/** The seed's words for operations on files; each stands for one type of action. */
export const FILE_OPERATIONS: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(policyWords("path")).flatMap(([word, types]) => types.map((type) => [word, type])),
);
/** Its words for what git does. Whatever a step changes is added, so `git_add` allows nothing more. */
export const GIT_OPERATIONS: Readonly<Record<string, readonly string[]>> = {
  git_add: [],
  ...policyWords("resource"),
};

const keysOf = (names: Readonly<Record<string, unknown>>): [string, ...string[]] =>
  Object.keys(names) as [string, ...string[]];

/**
 * A sandbox policy, as engineers write it in JSON or YAML. Whatever it does not allow is denied.
 * The one definition of its shape; its JSON Schema is made from it.
 */
export const sandboxPolicy = z.strictObject({
  policy_id: id,
  schema_version: z.string().max(20),
  description: z.string().max(1000).optional(),
  mode: z.enum(["enforce", "observe"]).default("enforce"),
  /**
   * Types of action that are allowed: on any resource, or only on those that a pattern names. Not
   * for files, commands and hosts.
   */
  operations: z
    .array(
      z.union([
        operation,
        z.strictObject({ type: operation, resources: z.array(glob).min(1).max(LIST_MAX) }),
      ]),
    )
    .max(LIST_MAX)
    .default([]),
  allowed_git_operations: z
    .array(z.enum(keysOf(GIT_OPERATIONS)))
    .max(10)
    .default([]),
  allowlist: z
    .strictObject({
      file_operations: z
        .array(z.enum(keysOf(FILE_OPERATIONS)))
        .max(20)
        .default([]),
      commands: z.array(command).max(LIST_MAX).default([]),
      /** Where the file operations may act. */
      paths: z.array(glob).max(LIST_MAX).default([]),
      /**
       * Which of these paths may be files that tools on other machines find and run, such as
       * `.github/workflows/**` or `.vscode/**`: without their name here nothing changes one, in any
       * mode. docs/spec/host-run-files.md has them all.
       */
      host_run_paths: z.array(glob).max(LIST_MAX).default([]),
      /** The same, in its older name; both count. */
      ci_paths: z.array(glob).max(LIST_MAX).default([]),
    })
    .prefault({}),
  /** Coding agents, by the names of their adapters, and what their tools may do. */
  agent: z
    .strictObject({
      run: z.array(toolName).max(20).default([]),
      /**
       * `judge`: allowed where the rules above allow what the call does: the file that it reads or
       * writes, or the words of its command. `allow`: with any arguments. Others are denied.
       */
      tools: z.record(toolName, z.enum(["judge", "allow"])).default({}),
    })
    .optional(),
  /** Paths that no operation may touch, whatever else allows it. */
  deny_paths: z.array(glob).max(LIST_MAX).default([]),
  /** Hosts that a tool's HTTP call may name. */
  hosts: z.array(host).max(LIST_MAX).default([]),
  /** What commands and agents reach from their sandbox; without it nothing. */
  network: z
    .strictObject({
      /** Hosts that they may connect to by TLS, through the egress proxy. */
      hosts: z.array(host).max(LIST_MAX).default([]),
    })
    .optional(),
  /** Tools that commands see read-only, found at their usual places. */
  presets: z.array(z.enum(PRESETS)).max(PRESETS.length).default([]),
  /** What else they see. */
  mounts: z.array(toolMount).max(64).default([]),
  /** Operations that wait for people: `required` distinct approvers among `roles`. */
  approvals: z
    .array(
      z.strictObject({
        operations: z.array(operation).min(1).max(LIST_MAX),
        required: z.int().min(1).max(64),
        roles: z.array(fields.name).min(1).max(64),
      }),
    )
    .max(100)
    .default([]),
  limits: z
    .strictObject({
      max_file_size_mb: z.int().min(1).max(10_000).default(10),
      max_files: z.int().min(1).max(1_000_000).default(100),
      timeout_seconds: z.int().min(1).max(86_400).default(1800),
      /** All changes together, whatever `max_files` and `max_file_size_mb` come to; 1024. */
      max_total_mb: z.int().min(1).max(1_000_000).optional(),
      /** Of each process of a command, and of all together where the machine can tell; 2048. */
      max_memory_mb: z.int().min(16).max(1_000_000).optional(),
      /** Of a command, all together; 256. */
      max_processes: z.int().min(1).max(10_000).optional(),
      /** In `/tmp` and the home folder together: files, folders and links; 24576. */
      max_temporary_files: z.int().min(1).max(57_344).optional(),
      /** Memory of the kernel for all of a command, where the machine can tell; 64. */
      max_kernel_memory_mb: z.int().min(1).max(72).optional(),
      /** Processor time of each process of a command; `timeout_seconds`. */
      max_cpu_seconds: z.int().min(1).max(86_400).optional(),
      /** What a command may say; 4. */
      max_output_mb: z.int().min(1).max(256).optional(),
      /** The weakest sandbox in which a step may run: `sovereign doctor` says which one holds. */
      minimum_sandbox_level: z.enum(["G2", "G3"]).default("G2"),
      /** What confines commands. One that cannot be used here refuses: no other stands in. */
      sandbox_backend: z.enum(["bubblewrap", "container"]).default("bubblewrap"),
    })
    .prefault({}),
});
export type SandboxPolicy = z.infer<typeof sandboxPolicy>;
/** What a policy says of tools; nothing where it names none. */
export type PolicyTools = Pick<SandboxPolicy, "presets" | "mounts">;
