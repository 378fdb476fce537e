import { addressBelow } from "../inside/address.ts";
import { type HostCall, type HostEnd, SkillFailure } from "../inside/call.ts";
import { readJson, readText } from "../inside/plain-json.ts";

export interface SlackInput {
  readonly base_url: string;
  readonly channel: string;
  readonly text: string;
  readonly thread_ts?: string | undefined;
  readonly blocks?: readonly unknown[] | undefined;
  readonly token: string;
}

/** Asked to wait longer, the step fails: its plan says how long it may take. */
const WAIT_SECONDS_MAX = 60;
const TRIES_MAX = 4;
/** Slack says of these that some of it may have been done. */
const UNKNOWN_ERRORS: ReadonlySet<string> = new Set(["fatal_error", "internal_error"]);

/** @see the contract of Slack's `chat.postMessage`, and of its rate limits */
export async function runSlackSend(input: SlackInput, call: HostCall): Promise<HostEnd> {
  const { base_url: base, channel, text, thread_ts, blocks, token } = input;
  const message = {
    ...{ channel, text },
    ...(thread_ts === undefined ? {} : { thread_ts }),
    ...(blocks === undefined ? {} : { blocks }),
  };
  for (let tries = 1; ; tries++) {
    const { status, headers, bytes } = await call.http({
      url: addressBelow(base, "chat.postMessage"),
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json; charset=utf-8",
      },
      body: Buffer.from(JSON.stringify(message)),
      isUnsafe: true,
    });
    if (status !== 429) return { value: readAnswer(status, bytes) };
    // Nothing was done: it is asked again when Slack says so.
    const seconds = Number(headers["retry-after"] ?? "1");
    if (tries >= TRIES_MAX || !(seconds >= 0 && seconds <= WAIT_SECONDS_MAX)) {
      throw new SkillFailure("Slack takes no more messages for now: ratelimited");
    }
    await call.wait(seconds * 1000);
  }
}

interface SlackAnswer {
  readonly ok?: unknown;
  readonly error?: unknown;
  readonly channel?: unknown;
  readonly ts?: unknown;
}

function readAnswer(status: number, bytes: Uint8Array): { channel: string; ts: string } {
  if (status !== 200) throw unknown(`Slack answered ${status}`);
  const found = (readJson(readText(bytes) ?? "") ?? {}) as SlackAnswer;
  const { ok, channel, ts } = found;
  if (ok === true && typeof channel === "string" && typeof ts === "string") return { channel, ts };
  const error = ok === false ? errorOf(found) : null;
  if (error === null) throw unknown("Slack gave no answer of its contract");
  if (UNKNOWN_ERRORS.has(error)) throw unknown(`Slack answered ${error}`);
  throw new SkillFailure(`Slack does not post it: ${error}`);
}

function errorOf({ error }: SlackAnswer): string | null {
  return typeof error === "string" && /^[a-z_]{1,60}$/.test(error) ? error : null;
}

function unknown(text: string): SkillFailure {
  return new SkillFailure(`${text}; nobody knows whether it happened`, "ERR_OUTCOME_UNKNOWN");
}
