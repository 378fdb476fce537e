import { setTimeout as sleep } from "node:timers/promises";
import { parseStrictJson, utf8Encode } from "@sovereign/core";
import type { WatchEvent } from "./scram-reports.ts";
import { startTrustedService } from "../../process/index.ts";
import { programCommand } from "../../home/index.ts";

const FIRST_AGAIN_MS = 500;
const AGAIN_MS_MAX = 15_000;
/** One that lived for so long had got through: what ended it is another matter. */
const SETTLED_MS = 60_000;
const END_MS = 10_000;
const SAID_MAX = 2000;

type Environment = Readonly<Record<string, string | undefined>>;

export interface WatchProcessOptions {
  readonly environment: Environment;
  /** What it says; and why it ended, as often as it does. */
  readonly onEvent: (event: WatchEvent) => void;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/**
 * Keep `sovereign nodes watch` running beside us until the signal: for a process that is to hold no
 * database itself, on a machine that is to hear of the others. It ends with us, however we do, because
 * its standard input does.
 */
export async function keepWatching(options: WatchProcessOptions): Promise<void> {
  const { onEvent, signal } = options;
  if (isOver(signal)) return;
  let waitMs = FIRST_AGAIN_MS;
  for (;;) {
    const started = performance.now();
    const why = await watchOnce(options);
    if (isOver(signal)) return;
    onEvent({ event: "unwatched", why });
    if (performance.now() - started > SETTLED_MS) waitMs = FIRST_AGAIN_MS;
    await sleep(waitMs, null, { signal }).catch(() => null);
    waitMs = Math.min(waitMs * 2, AGAIN_MS_MAX);
    if (isOver(signal)) return;
  }
}

function isOver({ aborted }: AbortSignal): boolean {
  return aborted;
}

/** @returns why it ended, for people */
async function watchOnce({ environment, onEvent, signal }: WatchProcessOptions): Promise<string> {
  const [command, ...args] = [...programCommand("cli"), "nodes", "watch", "--json", "--until-eof"];
  const child = startTrustedService("watch", command, args, {
    env: definedOf(environment),
    stdio: ["pipe", "pipe", "pipe"],
    detached: false,
  });
  const end = (): void => {
    child.stdin?.end();
    setTimeout(() => child.kill("SIGKILL"), END_MS).unref();
  };
  signal.addEventListener("abort", end);
  let line = "";
  let said = "";
  child.stdin?.on("error", () => undefined);
  child.stdout?.on("data", (chunk) => {
    const lines = (line + String(chunk)).split("\n");
    line = lines.pop() ?? "";
    for (const whole of lines) tell(whole, onEvent);
  });
  child.stderr?.on("data", (chunk) => (said = (said + String(chunk)).slice(-SAID_MAX)));
  const code = await new Promise<number | string | null>((resolve) => {
    child.on("error", ({ message }) => {
      resolve(message);
    });
    child.on("close", resolve);
  });
  signal.removeEventListener("abort", end);
  return said.trim() || `its process ended (${String(code)})`;
}

/** Of its lines, those that are about the watch. */
function tell(line: string, onEvent: (event: WatchEvent) => void): void {
  try {
    const { event, node, why } = parseStrictJson(utf8Encode(line)) as Record<string, unknown>;
    if (event === "watching") onEvent({ event, node: String(node) });
    if (event === "unheard") onEvent({ event, why: String(why) });
    if (event === "heard") onEvent({ event });
  } catch {
    // Not one of ours.
  }
}

function definedOf(environment: Environment): Record<string, string> {
  const found = Object.entries(environment).filter(([, value]) => value !== undefined);
  return Object.fromEntries(found) as Record<string, string>;
}
