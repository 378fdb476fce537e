import { join } from "node:path";
import {
  base64Decode,
  type Envelope,
  fields,
  formats,
  isErrorCode,
  type JsonObject,
  type KillReceipt,
  parseCanonicalJson,
  parseFormat,
  parseStatement,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import type { ScramOutcome } from "./scram-reports.ts";
import { readOwnFile, removeAt, replaceOwnFile } from "../../system/index.ts";
import { EnvelopeStore, Journal, latchEverything, ScramLatch } from "../../scram/index.ts";
import { connectScram } from "../../home/index.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Ours is told from a shell's, which has its number of a process. */
const CALL_PREFIX = "9000000000";
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
const answered = z.union([
  z.looseObject({ event: formats.scramEvent }),
  z.looseObject({ refused: z.looseObject({ code: z.string(), reason: z.string() }) }),
]);
const recorded = z.looseObject({
  event: z.looseObject({ event_id: fields.scramEventId }),
  envelopes: z.record(z.string(), fields.digest),
});

/**
 * Give an order where no sentinel runs: it is in force, and durable, before anybody is needed. Then a
 * sentinel is started, which carries it out before it listens to anybody.
 *
 * @throws ERR_SCRAM_SENTINEL_START when none can be: the stop is in force all the same
 */
export async function stopByCall(
  home: string,
  environment: Environment,
  envelope: Envelope,
): Promise<ScramOutcome> {
  const folder = join(home, "scram");
  const call = join(folder, `call.${CALL_PREFIX}${process.pid}`);
  const latch = new ScramLatch(folder);
  const written = writeCall(call, envelope);
  if (!written) latchEverything(latch);
  try {
    (await connectScram(home, environment)).close();
  } catch (cause) {
    if (written) latchEverything(latch);
    const why = cause instanceof Error ? cause.message : "unknown";
    const text = `Everything is stopped, and that is durable: nothing starts until a reset. But no sentinel could be started to look whether all is dead: ${why}`;
    throw new SovereignError("ERR_SCRAM_SENTINEL_START", text, { folder }, cause);
  }
  return outcomeOf(folder, `${call}.answer`);
}

function writeCall(call: string, envelope: Envelope): boolean {
  try {
    removeAt(`${call}.answer`);
    replaceOwnFile(call, `${JSON.stringify(envelope)}\n`);
    replaceOwnFile(`${call}.ready`, "");
    return true;
  } catch {
    // A disk without room: the latch has its own.
    return false;
  }
}

/** What the sentinel answered, with the receipt that it put beside its journal. */
function outcomeOf(folder: string, answer: string): ScramOutcome {
  const bytes = readOwnFile(answer, ANSWER_BYTES_MAX);
  removeAt(answer);
  if (bytes === null) throw unrecorded(folder);
  const said = parseFormat(answered, parseCanonicalJson(bytes.subarray(0, -1)), "answer");
  if ("refused" in said) {
    // A sentinel of another version may refuse by a code that this one does not know.
    const { code, reason } = said.refused as { code: string; reason: string };
    const known = isErrorCode(code) ? code : "ERR_SCRAM_ORDER_MALFORMED";
    throw new SovereignError(known, `The order is refused: ${reason}.`);
  }
  const { event } = said as { event: z.infer<typeof formats.scramEvent> };
  const line = Journal.open(join(folder, "journal.jsonl")).lines.findLast((one) => {
    const found = recorded.safeParse(one.data);
    return found.success && found.data.event.event_id === event.event_id;
  });
  if (line === undefined) throw unrecorded(folder);
  const { receipt: digest } = parseFormat(recorded, line.data, line.event).envelopes;
  if (digest === undefined) {
    const body = line.data["unsigned_receipt"] as JsonObject as unknown as KillReceipt;
    return { kind: "stopped", event, receipt: body, envelope: null };
  }
  const envelope = new EnvelopeStore(join(folder, "envelopes")).get(digest);
  const { predicate } = parseStatement(base64Decode(envelope.payload), "kill-receipt");
  return { kind: "stopped", event, receipt: predicate, envelope };
}

function unrecorded(folder: string): SovereignError {
  const text = `The stop is in force, and the sentinel could not record it in ${folder}. Look at it: sovereign scram status`;
  return new SovereignError("ERR_SCRAM_UNWRITABLE", text, { folder });
}
