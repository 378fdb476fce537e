import { existsSync } from "node:fs";
import { dirname } from "node:path";
import {
  canonicalize,
  formats,
  type JsonObject,
  parseFormat,
  parseStrictJson,
  type TapeEvent,
  utf8Encode,
} from "@sovereign/core";
import {
  appendOwnFile,
  type Clock,
  makeOwnFolder,
  replaceOwnFile,
  requireOwnFile,
  timestampOf,
} from "../system/index.ts";

/**
 * What happened in a run, a line each, as it happens. For people and for the gates; the ledger is
 * what proves it, and it names the tape's digest at the end.
 */
export class RunTape {
  readonly #path: string;
  readonly #runId: string;
  readonly #clock: Clock;
  #next: number;

  /** @param path goes on where an earlier process stopped; half a last line is dropped */
  constructor(path: string, runId: string, clock: Clock) {
    this.#path = path;
    this.#runId = runId;
    this.#clock = clock;
    makeOwnFolder(dirname(path));
    const events = existsSync(path) ? readTape(wholeLines(requireOwnFile(path))) : [];
    this.#next = events.length;
    const text = events.map((one) => `${canonicalize(one)}\n`).join("");
    replaceOwnFile(path, text, false);
  }

  add(event: TapeEvent["event"], stepId: string | null, details: JsonObject = {}): void {
    const line: TapeEvent = {
      seq: this.#next,
      timestamp: timestampOf(this.#clock),
      run_id: this.#runId,
      event,
      step_id: stepId,
      details,
    };
    appendOwnFile(this.#path, `${canonicalize(line)}\n`);
    this.#next += 1;
  }

  events(): TapeEvent[] {
    return readTape(requireOwnFile(this.#path));
  }

  bytes(): Uint8Array {
    return requireOwnFile(this.#path);
  }
}

function wholeLines(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.lastIndexOf("\n") + 1);
}

/** @throws ERR_FORMAT_INVALID, ERR_JSON_… for a line that is no event */
function readTape(bytes: Uint8Array): TapeEvent[] {
  const lines = Buffer.from(bytes).toString("utf8").split("\n");
  return lines
    .filter((line) => line !== "")
    .map((line) => parseFormat(formats.tapeEvent, parseStrictJson(utf8Encode(line)), "run tape"));
}
