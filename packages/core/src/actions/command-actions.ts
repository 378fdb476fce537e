import { z } from "zod";
import { fields, type JsonObject } from "../formats/index.ts";
import { type ActionDeclaration, requestForm } from "./declaration.ts";

const asked = z.strictObject({
  argv: z.array(z.string().max(8000)).min(1).max(1000),
  cwd: z.string().max(1024).default(""),
  timeout_seconds: z.int().min(1).max(86_400).optional(),
});

/** How a sandbox confined what it ran. */
const confined = {
  sandbox_level: z.string(),
  sandbox_backend: z.string(),
  processes_refused: z.literal(true).optional(),
};

export const COMMAND_ACTIONS = {
  "command.run": {
    text: "Run a command in the sandbox.",
    /** The resource is the executable. */
    params: z.strictObject({
      /** Its arguments, without the executable. */
      argv: z.array(z.string()),
      /** A folder below the command's own; empty for that. */
      cwd: z.string(),
      timeout_seconds: fields.count.optional(),
      /** The word of the request that asked. */
      kind: z.string().optional(),
      /** The tree that it starts from, where it runs on a repository's. */
      before: fields.gitId.optional(),
    }),
    output: z.looseObject({ ...confined, exit_code: z.int().nullable() }),
    policy: { matches: "command" },
    repeats: "again",
    request: requestForm(["lint", "test", "build", "command", "verify"], asked, (wanted, word) => {
      const [resource = "", ...argv] = wanted.argv;
      const params: JsonObject = { argv, cwd: wanted.cwd, kind: word };
      if (wanted.timeout_seconds !== undefined) params["timeout_seconds"] = wanted.timeout_seconds;
      return { resource, params, content: null };
    }),
  },
} as const satisfies Readonly<Record<string, ActionDeclaration>>;

/** The parameters of an action that runs a program: all that its result depends on. */
const programParams = z.strictObject({
  program: z.string(),
  /** Digest of the tree of programs, by relative path. */
  programs_digest: fields.digest,
  seed: z.int(),
  params: fields.jsonObject,
  inputs: z.record(z.string(), z.strictObject({ artifact: z.string(), sha256: fields.digest })),
  /** Output file → the artifact's name. */
  outputs: z.record(z.string(), z.string()),
  limits: z.strictObject({
    wall_ms: z.int(),
    cpu_seconds: z.int(),
    memory_bytes: z.int(),
    processes: z.int(),
    output_bytes: z.int(),
    file_bytes: z.int(),
  }),
});

const program = {
  params: programParams,
  output: z.strictObject({
    ...confined,
    /** Null where it is too large for an entry. */
    summary: fields.json,
    summary_digest: fields.digest,
  }),
  policy: { matches: "resource" },
  repeats: "again",
  request: null,
} as const;

/** A pipeline's programs, each in its sandbox. */
export const PROGRAM_ACTIONS = {
  "data.prepare": { ...program, text: "Run a program that prepares data." },
  "model.train": { ...program, text: "Run a program that trains a model." },
  "agent.judge": { ...program, text: "Run an agent's program, which votes." },
} as const satisfies Readonly<Record<string, ActionDeclaration>>;
