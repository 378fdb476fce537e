import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { canonicalBytes, type JsonRecord, parseCanonical, sha256Hex } from "./canonical.ts";

/** What a program is given: everything here was checked before it is called. */
export interface Job<P> {
  readonly stage: string;
  readonly seed: number;
  readonly params: P;
  /** The bytes of an input; its digest is the one that the request names. */
  readonly input: (name: string) => Uint8Array;
}

/** What a program leaves: files by name, and a summary for `result.json`. */
export interface Product {
  readonly files: Readonly<Record<string, Uint8Array>>;
  readonly summary: JsonRecord;
}

interface Program<P> {
  readonly name: string;
  readonly params: z.ZodType<P>;
  readonly inputs: readonly string[];
  readonly run: (job: Job<P>) => Product;
}

const INPUT_BYTES_MAX = 64 * 1024 * 1024;

const request = z.strictObject({
  stage: z.string().regex(/^[a-z][a-z0-9_.-]{0,62}$/),
  seed: z.int().min(0).max(0x7fff_ffff),
  params: z.unknown(),
  inputs: z.record(
    z.string(),
    z.strictObject({ path: z.string().min(1), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  ),
  output: z.string().min(1),
});

/**
 * Run one program: request on stdin (canonical JSON), files to the output folder, exit 0; or one
 * line on stderr and exit 1. `result.json` comes last, so that its presence means a whole output.
 */
export function runProgram<P>(program: Program<P>): void {
  try {
    execute(program);
  } catch (error) {
    const message = error instanceof Error ? error.message : "unknown failure";
    process.stderr.write(`${program.name}: ${message.replaceAll(/\s+/g, " ").slice(0, 500)}\n`);
    process.exitCode = 1;
  }
}

function execute<P>(program: Program<P>): void {
  const asked = check(request, parseCanonical(readFileSync(0), "request"), "request");
  const params = check(program.params, asked.params, "params");
  const found = Object.keys(asked.inputs).sort().join(", ");
  const wanted = [...program.inputs].sort().join(", ");
  if (found !== wanted) throw new Error(`inputs: expected ${wanted}; found ${found || "none"}`);
  const inputs = new Map<string, Uint8Array>();
  for (const [name, { path, sha256 }] of Object.entries(asked.inputs)) {
    inputs.set(name, readInput(name, path, sha256));
  }
  const { files, summary } = program.run({
    stage: asked.stage,
    seed: asked.seed,
    params,
    input: (name) => {
      const bytes = inputs.get(name);
      if (bytes === undefined) throw new Error(`inputs: ${name} was not declared`);
      return bytes;
    },
  });
  const outputs: JsonRecord = {};
  for (const [name, bytes] of Object.entries(files)) {
    writeNew(join(asked.output, name), bytes);
    outputs[name] = { sha256: sha256Hex(bytes), bytes: bytes.length };
  }
  const digests: JsonRecord = {};
  for (const [name, { sha256 }] of Object.entries(asked.inputs)) digests[name] = sha256;
  const result: JsonRecord = {
    program: program.name,
    stage: asked.stage,
    seed: asked.seed,
    inputs: digests,
    outputs,
    summary,
  };
  writeNew(join(asked.output, "result.json"), canonicalBytes(result));
  process.stdout.write(`${program.name}: ${asked.stage} done\n`);
}

/** Check a value against a definition; the message names the first problem's place. */
export function check<T>(format: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = format.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const place = issue === undefined ? "" : issue.path.map(String).join(".");
  throw new Error(`${what}${place === "" ? "" : `.${place}`}: ${issue?.message ?? "no match"}`);
}

function readInput(name: string, path: string, sha256: string): Uint8Array {
  const bytes = readFileSync(path);
  if (bytes.length > INPUT_BYTES_MAX) {
    throw new Error(`input ${name}: expected at most ${INPUT_BYTES_MAX} bytes`);
  }
  const found = sha256Hex(bytes);
  if (found !== sha256)
    throw new Error(`input ${name}: expected SHA-256 ${sha256}, found ${found}`);
  return bytes;
}

function writeNew(path: string, bytes: Uint8Array): void {
  const file = openSync(path, "wx", 0o600);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
