/**
 * Runs in OpenCode's own process: asks the run's socket before each tool call, and tells it after each
 * how the call ended. Whatever goes wrong before a call throws, and then OpenCode does not make it.
 *
 * OpenCode says nothing of a plugin that it could not load, and makes every call. So each run proves
 * that this one is asked, and what OpenCode says to have done is compared with what was asked.
 */
const SOCKET = "/sovereign/run/hooks.sock";
/** Longer than any decision takes. */
const ANSWER_MS = 30_000;
/** By this text a call that nobody could judge is known from one that was denied. */
const BROKEN = "sovereign: the call could not be judged";

interface Call {
  readonly tool: string;
  readonly sessionID: string;
  readonly callID: string;
}

interface Told {
  readonly phase: "before" | "after";
  readonly id: string;
  readonly tool: string;
  readonly input: unknown;
  readonly response?: unknown;
}

/** Part of a message, as events tell it. */
interface Part {
  readonly type?: string;
  readonly tool?: string;
  readonly callID?: string;
  readonly state?: { readonly status?: string; readonly input?: unknown; readonly error?: unknown };
}

interface Event {
  readonly type: string;
  readonly properties?: { readonly part?: Part };
}

/** Calls that may be made and of which no end was told. */
const open = new Set<string>();

/** @returns `allow` and `seen` as their word; throws for every other answer, and for half of one */
async function ask(told: Told): Promise<"allow" | "seen"> {
  const reply = await exchange(JSON.stringify(told));
  const line = reply.indexOf("\n");
  const [word, bytes, ...why] = reply.subarray(0, line).toString("utf8").split(" ");
  if (line < 0 || reply.length - line - 1 !== Number(bytes)) {
    throw new Error(`${BROKEN}: the answer is cut off`);
  }
  if (word === "deny") throw new Error(`sovereign: denied: ${why.join(" ")}`);
  if (word !== "allow" && word !== "seen") throw new Error(`${BROKEN}: the answer is none`);
  return word;
}

/** What is sent and received, as far as this program's runtime has it. */
interface Wire {
  write(bytes: Uint8Array): number;
  shutdown(): void;
  end(): void;
}

/** Of OpenCode's runtime: its copy of Node's sockets loses answers that come after our own end. */
declare const Bun: {
  connect(options: {
    readonly unix: string;
    readonly allowHalfOpen: boolean;
    readonly socket: {
      open(wire: Wire): void;
      drain(wire: Wire): void;
      data(wire: Wire, bytes: Uint8Array): void;
      close(): void;
      error(): void;
    };
  }): Promise<Wire>;
};

function exchange(text: string): Promise<Buffer> {
  const told = Buffer.from(text);
  const parts: Buffer[] = [];
  let sent = 0;
  const send = (wire: Wire): void => {
    if (sent === told.length) return;
    sent += wire.write(told.subarray(sent));
    if (sent === told.length) wire.shutdown();
  };
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      reject(new Error(`${BROKEN}: nobody answered in time`));
    }, ANSWER_MS);
    const end = (act: () => void): void => {
      clearTimeout(late);
      act();
    };
    const socket = {
      open: send,
      drain: send,
      data: (_wire: Wire, bytes: Uint8Array) => void parts.push(Buffer.from(bytes)),
      close: () => {
        end(() => {
          resolve(Buffer.concat(parts));
        });
      },
      error: () => {
        end(() => {
          reject(new Error(`${BROKEN}: the socket failed`));
        });
      },
    };
    Bun.connect({ unix: SOCKET, allowHalfOpen: true, socket }).catch(() => {
      end(() => {
        reject(new Error(`${BROKEN}: nobody listens`));
      });
    });
  });
}

async function before({ tool, callID }: Call, { args }: { readonly args: unknown }): Promise<void> {
  const word = await ask({ phase: "before", id: callID, tool, input: args });
  if (word !== "allow") throw new Error(`${BROKEN}: the answer is for another call`);
  open.add(callID);
}

async function after(call: Call & { readonly args?: unknown }, output: unknown): Promise<void> {
  const { tool, callID, args } = call;
  open.delete(callID);
  await ask({ phase: "after", id: callID, tool, input: args ?? {}, response: saidOf(output) });
}

/** A call that failed after it was allowed: the program tells its plugins of no end. */
async function failed({ type, properties }: Event): Promise<void> {
  const part = type === "message.part.updated" ? properties?.part : undefined;
  const { type: kind, tool = "", callID = "", state } = part ?? {};
  if (kind !== "tool" || state?.status !== "error" || !open.delete(callID)) return;
  const { input, error } = state;
  await ask({ phase: "after", id: callID, tool, input: input ?? {}, response: { error } });
}

function saidOf(output: unknown): unknown {
  if (typeof output !== "object" || output === null) return null;
  return "output" in output ? output.output : null;
}

export default {
  id: "sovereign",
  server: (): Promise<Readonly<Record<string, unknown>>> =>
    Promise.resolve({
      "tool.execute.before": before,
      "tool.execute.after": after,
      // Nobody waits for what this comes to, so it may not throw.
      event: ({ event }: { readonly event: Event }) => failed(event).catch(() => undefined),
    }),
};
