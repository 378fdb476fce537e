import { cutText, base64Encode, SovereignError, utf8Encode } from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import { type DiffPart, readDiff } from "../../executor/index.ts";
import { type Clock, type Entropy, newId } from "../../system/index.ts";
import type { RequestWords } from "./exec-reports.ts";

/** The most bytes of a diff: as text in a request it grows. */
const PATCH_BYTES_MAX = 32 * 1024 * 1024;
const MESSAGE_CHARS_MAX = 8000;

interface Making {
  readonly clock: Clock;
  readonly entropy: Entropy;
}

/** The request that one command line or one diff stands for: frozen and judged like any other. */
export function makeRequest(words: RequestWords, making: Making): Uint8Array {
  const steps = words.kind === "command" ? commandStep(words) : patchSteps(words);
  const { author, coAuthors } = words;
  const at = making.clock
    .now()
    .toISOString()
    .replace(/\.\d+Z$/, "Z");
  const request = {
    exec_request_id: newId("exec_req_", making.entropy),
    schema_version: "1.0.0",
    created_at: at,
    mode_id: "implementation",
    execution_mode: "worktree",
    ...(author === null ? {} : { author }),
    ...(coAuthors.length === 0 ? {} : { co_authors: coAuthors }),
    patch_plan: {
      steps: steps.map((step, index) => ({
        step_id: `step_${String(index + 1).padStart(2, "0")}`,
        ...step,
      })),
    },
  };
  return utf8Encode(`${JSON.stringify(request, null, 2)}\n`);
}

interface MadeStep {
  readonly commit_message: string;
  readonly operations: readonly object[];
}

function commandStep({ argv, message }: RequestWords & { kind: "command" }): MadeStep[] {
  const words = argv.map((one) => (/^[\w./:=@%+,-]+$/.test(one) ? one : JSON.stringify(one)));
  const commit_message = messageOf(message, `Run ${words.join(" ")}`);
  const params = { argv: [...argv] };
  return [{ commit_message, operations: [{ op_id: "command", action: "command", params }] }];
}

function patchSteps({ file, message }: RequestWords & { kind: "patch" }): MadeStep[] {
  const isInput = file === "-";
  const bytes = readNamed(isInput ? "/dev/stdin" : file, PATCH_BYTES_MAX);
  const name = isInput ? "standard input" : file;
  const parts = readDiff(bytes, name);
  if (message !== null && parts.length > 1) {
    const text = `--message: expected none, for ${name} holds ${parts.length} mails, each with its own`;
    throw new SovereignError("ERR_USAGE", text);
  }
  return parts.map((part) => ({
    commit_message: messageOf(message, wordsOf(part)),
    operations: part.files.flatMap(operationsOf),
  }));
}

function wordsOf({ message, files }: DiffPart): string {
  if (message !== "") return message;
  const [first] = files;
  return files.length === 1 ? `Change ${first?.path ?? ""}` : `Change ${files.length} files`;
}

function messageOf(given: string | null, otherwise: string): string {
  const message = given ?? otherwise;
  if (given === null || (given.trim() !== "" && given.length <= MESSAGE_CHARS_MAX)) {
    return cutText(message, MESSAGE_CHARS_MAX);
  }
  const text = `--message: expected 1 to ${MESSAGE_CHARS_MAX} characters, found ${given.length}`;
  throw new SovereignError("ERR_USAGE", text);
}

/** A file that is renamed and changed is moved first. */
function operationsOf({ path, from, patch }: DiffPart["files"][number], index: number): object[] {
  const at = index + 1;
  const rename = { op_id: `rename_${at}`, action: "rename_file", params: { from, path } };
  const params = patch === null ? {} : { path, ...textOf(patch) };
  const change = { op_id: `patch_${at}`, action: "patch_file", params };
  return [...(from === null ? [] : [rename]), ...(patch === null ? [] : [change])];
}

/** A diff of a file in another encoding is no text. */
function textOf(patch: Uint8Array): object {
  const text = Buffer.from(patch).toString("utf8");
  if (Buffer.from(text, "utf8").equals(patch)) return { patch: text };
  return { patch: base64Encode(patch), encoding: "base64" };
}
