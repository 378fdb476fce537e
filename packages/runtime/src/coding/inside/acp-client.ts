import * as files from "node:fs";
import { connect, Socket } from "node:net";
import { basename, dirname, isAbsolute, join, normalize } from "node:path";

/**
 * Runs in the sandbox, as the client of an agent that speaks the Agent Client Protocol, version 1. The
 * agent is at the other end of two pipes, and hostile: it never speaks to the control itself. Each
 * permission that it asks for, and each file that it asks us to read or write, goes to the run's
 * socket first. What it says is handed on as lines of our own. With the name of an earlier conversation,
 * it is to go on with that one.
 */
const [hooks = "", toAgent = "", fromAgent = "", earlier = ""] = process.argv.slice(2);

const ROOT = "/workspace";
const VERSION = 1;
const LINE_BYTES_MAX = 8 * 1024 * 1024;
const FILE_BYTES_MAX = 8 * 1024 * 1024;
/** What the agent has not read of our answers. */
const UNREAD_BYTES_MAX = 32 * 1024 * 1024;
const TEXT_CHARS_MAX = 4 * 1024 * 1024;
const TEXT_CHARS = 2000;
const NONSENSE_MAX = 1000;
const AT_ONCE_MAX = 32;
/** Calls of which something is remembered: more than the kernel lets an agent make. */
const CALLS_MAX = 10_000;
const ID_CHARS_MAX = 150;
const ANSWER_MS = 30_000;
const START_MS = 60_000;

type Fields = Readonly<Record<string, unknown>>;
type Told = Fields & { readonly phase: "before" | "after"; readonly id: string };

class Refused extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value.filter(isFields) : [];
}

function say(event: Fields): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

/** Nothing that is still in work counts after this. */
function end(code: number, event: Fields): void {
  if (hasEnded) return;
  hasEnded = true;
  spoken.flush();
  say(event);
  process.stdout.write("", () => process.exit(code));
}

function fail(why: string): void {
  end(1, { type: "failed", why });
}

let hasEnded = false;
/** Its last word came: what it does to the pipes from here on is nothing to us. */
let hasAnswered = false;

/** The agent's words come in pieces of a few letters. */
class Spoken {
  #text = "";
  #said = 0;

  add(text: string): void {
    if (this.#said > TEXT_CHARS_MAX) return;
    this.#said += text.length;
    this.#text += text;
    if (this.#text.length > TEXT_CHARS) this.flush();
  }

  flush(): void {
    if (this.#text.trim() !== "") say({ type: "text", text: this.#text });
    this.#text = "";
  }
}

const spoken = new Spoken();

/** @returns `allow`, `deny` or `seen`, and why; throws where there is no whole answer */
function ask(told: Told): Promise<{ word: string; why: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: hooks, allowHalfOpen: true });
    const late = setTimeout(() => {
      socket.destroy(new Error("nobody answered in time"));
    }, ANSWER_MS);
    const parts: Buffer[] = [];
    socket.on("data", (part) => parts.push(part));
    socket.on("error", reject);
    socket.on("close", () => {
      clearTimeout(late);
      reject(new Error("nobody answered"));
    });
    socket.on("end", () => {
      const reply = Buffer.concat(parts);
      const line = reply.indexOf("\n");
      const [word = "", bytes, ...why] = reply.subarray(0, line).toString("utf8").split(" ");
      if (line < 0 || reply.length - line - 1 !== Number(bytes)) reject(new Error("cut off"));
      resolve({ word, why: why.join(" ") });
      socket.destroy();
    });
    socket.end(JSON.stringify(told));
  });
}

/** What goes wrong here is a denial. */
async function judge(told: Told): Promise<{ allowed: boolean; why: string }> {
  try {
    const { word, why } = await ask(told);
    return { allowed: word === "allow", why };
  } catch {
    return { allowed: false, why: "the call could not be judged" };
  }
}

/** The agent's side of the pipes: JSON-RPC, a message a line. */
class Peer {
  readonly #out: Socket;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #held: Buffer[] = [];
  #size = 0;
  #last = 0;
  #nonsense = 0;
  #atOnce = 0;

  constructor(out: Socket) {
    this.#out = out;
  }

  request(method: string, params: Fields): Promise<unknown> {
    this.#last += 1;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(this.#last, waiting);
    this.#send({ id: this.#last, method, params });
    return waiting.promise;
  }

  notify(method: string, params: Fields): void {
    this.#send({ method, params });
  }

  read(chunk: Buffer): void {
    let rest = chunk;
    for (let at = rest.indexOf(0x0a); at >= 0 && !hasEnded; at = rest.indexOf(0x0a)) {
      this.#held.push(rest.subarray(0, at));
      const line = Buffer.concat(this.#held).toString("utf8");
      this.#held = [];
      this.#size = 0;
      rest = rest.subarray(at + 1);
      if (line.trim() !== "") this.#line(line);
    }
    this.#size += rest.length;
    this.#held.push(rest);
    if (this.#size > LINE_BYTES_MAX) fail(`it said a line of more than ${LINE_BYTES_MAX} bytes`);
  }

  #line(line: string): void {
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      message = null;
    }
    if (isFields(message)) {
      this.#message(message);
      return;
    }
    this.#nonsense += 1;
    if (this.#nonsense > NONSENSE_MAX) fail("it does not speak the Agent Client Protocol");
  }

  #message(message: Fields): void {
    const { id, method, params, result, error } = message;
    if (typeof method === "string") {
      if (id === undefined) notified(method, fieldsOf(params));
      else void this.#answer(id, method, fieldsOf(params));
      return;
    }
    const waiting = typeof id === "number" ? this.#waiting.get(id) : undefined;
    if (waiting === undefined) return;
    this.#waiting.delete(id as number);
    if (error === undefined) waiting.resolve(result);
    else waiting.reject(new Error(textOf(fieldsOf(error)["message"]).slice(0, TEXT_CHARS)));
  }

  async #answer(id: unknown, method: string, params: Fields): Promise<void> {
    try {
      if (this.#atOnce >= AT_ONCE_MAX) throw new Refused(-32000, "too many requests at once");
      this.#atOnce += 1;
      try {
        this.#send({ id, result: await requested(method, params) });
      } finally {
        this.#atOnce -= 1;
      }
    } catch (error) {
      const code = error instanceof Refused ? error.code : -32603;
      const message = error instanceof Error ? error.message : "it failed";
      this.#send({ id, error: { code, message } });
    }
  }

  #send(message: Fields): void {
    if (this.#out.writableLength > UNREAD_BYTES_MAX) fail("it does not read what it is answered");
    else this.#out.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }
}

let session: string | null = null;
/** The last that was told of each call: a request may name the call alone. */
const known = new Map<string, Fields>();
/** By the agent's id of a call: the ids by which it was asked and allowed, and may be going on. */
const going = new Map<string, string[]>();
const denied = new Set<string>();
/** Calls that it said to have made: some agents say so twice. */
const made = new Set<string>();
const inWork = new Set<Promise<unknown>>();
let asked = 0;

const SERVED = new Map<string, (params: Fields) => Promise<Fields>>([
  ["session/request_permission", permission],
  ["fs/read_text_file", readFile],
  ["fs/write_text_file", writeFile],
]);

function requested(method: string, params: Fields): Promise<Fields> {
  const serve = SERVED.get(method);
  if (serve === undefined) throw new Refused(-32601, `${method.slice(0, 100)} is not offered here`);
  if (session === null || params["sessionId"] !== session) {
    throw new Refused(-32602, "there is no such session");
  }
  const work = serve(params);
  inWork.add(work);
  return work.finally(() => inWork.delete(work));
}

async function permission(params: Fields): Promise<Fields> {
  const { toolCall, options } = params;
  const call = remember(fieldsOf(toolCall));
  const id = textOf(call["toolCallId"]);
  const pick = (...kinds: string[]): string | undefined =>
    kinds
      .map((kind) => listOf(options).find((one) => one["kind"] === kind)?.["optionId"])
      .find((one) => typeof one === "string");
  // Leave for all later calls of the kind is not ours to give.
  const yes = pick("allow_once");
  const no = pick("reject_once", "reject_always");
  asked += 1;
  const told = { ...callOf(call), id: `${id}#${asked}` };
  const { allowed } =
    yes === undefined ? { allowed: false } : await judge({ phase: "before", ...told });
  if (allowed && yes !== undefined) {
    going.set(id, [...(going.get(id) ?? []), told.id]);
    return { outcome: { outcome: "selected", optionId: yes } };
  }
  if (denied.size < CALLS_MAX) denied.add(id);
  if (no !== undefined) return { outcome: { outcome: "selected", optionId: no } };
  // There is no word for no: the turn ends.
  if (session !== null) peer.notify("session/cancel", { sessionId: session });
  return { outcome: { outcome: "cancelled" } };
}

/** @returns what is known of a call, with what is told of it now */
function remember(told: Fields): Fields {
  const id = textOf(told["toolCallId"]);
  if (id === "" || id.length > ID_CHARS_MAX) throw new Refused(-32602, "expected a toolCallId");
  const fresh = Object.entries(told).filter(([, value]) => value !== undefined && value !== null);
  const call = { ...known.get(id), ...Object.fromEntries(fresh) };
  if (known.has(id) || known.size < CALLS_MAX) known.set(id, call);
  return call;
}

function callOf(call: Fields): Fields {
  const { kind, title, rawInput, locations, content } = call;
  const diffs = listOf(content).filter((one) => one["type"] === "diff");
  return {
    kind: textOf(kind),
    title: textOf(title).slice(0, TEXT_CHARS),
    input: isFields(rawInput) ? rawInput : {},
    paths: listOf(locations).map((one) => one["path"]),
    diffs: diffs.map((one) => ({ path: one["path"], isNew: (one["oldText"] ?? null) === null })),
  };
}

function notified(method: string, params: Fields): void {
  if (method !== "session/update" || session === null || params["sessionId"] !== session) return;
  const update = fieldsOf(params["update"]);
  const { sessionUpdate: kind, content } = update;
  if (kind === "agent_message_chunk") spoken.add(textOf(fieldsOf(content)["text"]));
  if (kind === "tool_call" || kind === "tool_call_update") toolUpdate(update);
}

/** What it was told not to do, and says to have done; and what it never asked for. */
function unasked(id: string, ran: boolean): void {
  if (denied.has(id)) say({ type: "tool_end", id: `${id}#denied`, ran });
  else if (ran && !made.has(id)) say({ type: "tool_unasked" });
}

function toolUpdate(update: Fields): void {
  const { toolCallId, status } = update;
  if (typeof toolCallId !== "string" || toolCallId.length > ID_CHARS_MAX) return;
  spoken.flush();
  const call = remember(update);
  const hasFailed = status === "failed";
  if (status !== "completed" && !hasFailed) return;
  const ids = going.get(toolCallId) ?? [];
  going.delete(toolCallId);
  known.delete(toolCallId);
  if (ids.length === 0) unasked(toolCallId, !hasFailed);
  if (made.size < CALLS_MAX) made.add(toolCallId);
  const response = call["rawOutput"] ?? call["content"] ?? null;
  for (const id of ids) {
    const told = ask({ phase: "after", ...callOf(call), id, response }).then(
      () => {
        say({ type: "tool_end", id, ran: !hasFailed });
      },
      () => {
        fail("nobody heard how a call ended");
      },
    );
    inWork.add(told);
    void told.finally(() => inWork.delete(told));
  }
}

/**
 * The place of a file in the work tree, below folders as they really are.
 * @throws Refused
 */
function placeOf(path: unknown): string {
  if (typeof path !== "string" || !isAbsolute(path) || path.includes("\0")) {
    throw new Refused(-32602, "expected an absolute path");
  }
  const plain = normalize(path);
  let names = [basename(plain)];
  for (let folder = dirname(plain); ; folder = dirname(folder)) {
    try {
      const real = join(files.realpathSync(folder), ...names);
      if (real.startsWith(`${ROOT}/`)) return real;
    } catch {
      names = [basename(folder), ...names];
      if (folder !== "/") continue;
    }
    throw new Refused(-32602, `expected a path in ${ROOT}`);
  }
}

/** Asks, does it, and tells how it went. */
async function governed(
  kind: string,
  params: Fields,
  act: (place: string) => Fields,
): Promise<Fields> {
  const place = placeOf(params["path"]);
  asked += 1;
  const { content } = params;
  const size = typeof content === "string" ? { bytes: Buffer.byteLength(content) } : {};
  const told = { id: `fs#${asked}`, kind, title: "", input: { path: place, ...size } };
  const call = { ...told, paths: [place], diffs: [] };
  const { allowed, why } = await judge({ phase: "before", ...call });
  if (!allowed) throw new Refused(-32000, why === "" ? "policy denies it" : `denied: ${why}`);
  let response: Fields = { error: "it failed" };
  try {
    const result = act(place);
    response = { ok: true };
    return result;
  } finally {
    await ask({ phase: "after", ...call, response });
  }
}

function readFile(params: Fields): Promise<Fields> {
  return governed("fs_read", params, (place) => {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = files.constants;
    const text = withFile(place, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, (fd) =>
      files.readFileSync(fd, "utf8"),
    );
    const { line, limit } = params;
    if (typeof line !== "number" && typeof limit !== "number") return { content: text };
    const from = typeof line === "number" && line > 0 ? line - 1 : 0;
    const count = typeof limit === "number" && limit >= 0 ? limit : Infinity;
    const lines = text.split("\n").slice(from, from + count);
    return { content: lines.join("\n") };
  });
}

function writeFile(params: Fields): Promise<Fields> {
  const { content } = params;
  if (typeof content !== "string") throw new Refused(-32602, "expected the content as text");
  return governed("fs_write", params, (place) => {
    const { O_WRONLY, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = files.constants;
    files.mkdirSync(dirname(place), { recursive: true });
    withFile(place, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, (fd) => {
      files.ftruncateSync(fd);
      files.writeFileSync(fd, content);
    });
    return {};
  });
}

function withFile<T>(place: string, flags: number, act: (fd: number) => T): T {
  const fd = files.openSync(place, flags, 0o644);
  try {
    const about = files.fstatSync(fd);
    if (!about.isFile()) throw new Refused(-32602, "expected a plain file");
    if (about.size > FILE_BYTES_MAX) throw new Refused(-32602, `more than ${FILE_BYTES_MAX} bytes`);
    return act(fd);
  } finally {
    files.closeSync(fd);
  }
}

/** @throws Error where the agent does not answer while it starts */
async function soon(method: string, params: Fields): Promise<Fields> {
  const late = new Promise<never>((_resolve, reject) => {
    const why = `it did not answer ${method} in ${START_MS} ms`;
    setTimeout(reject, START_MS, new Error(why)).unref();
  });
  return fieldsOf(await Promise.race([peer.request(method, params), late]));
}

/** Until this ends there is no session: what it tells of an earlier one is dropped, its requests refused. */
async function conversation(loads: boolean): Promise<string> {
  const place = { cwd: ROOT, mcpServers: [] };
  if (earlier === "") return textOf((await soon("session/new", place))["sessionId"]);
  if (!loads) throw new Error("it cannot load a conversation");
  await soon("session/load", { sessionId: earlier, ...place });
  return earlier;
}

async function converse(task: string): Promise<void> {
  const fs = { readTextFile: true, writeTextFile: true };
  const hello = await soon("initialize", {
    protocolVersion: VERSION,
    clientCapabilities: { fs, terminal: false },
    clientInfo: { name: "sovereign", version: "1" },
  });
  const { protocolVersion, agentInfo, agentCapabilities } = hello;
  if (protocolVersion !== VERSION) throw new Error(`expected version ${VERSION} of the protocol`);
  const loads = fieldsOf(agentCapabilities)["loadSession"] === true;
  const id = await conversation(loads);
  if (id === "") throw new Error("expected a session's id");
  const { name, version } = fieldsOf(agentInfo);
  // Where it cannot load a conversation, an attempt after an interruption begins anew.
  const kept = loads ? { session: id } : {};
  say({ type: "started", name: textOf(name), version: textOf(version), ...kept });
  session = id;
  const prompt = [{ type: "text", text: task }];
  const answer = fieldsOf(await peer.request("session/prompt", { sessionId: session, prompt }));
  hasAnswered = true;
  await Promise.all(inWork);
  const { stopReason, usage } = answer;
  const { inputTokens, outputTokens } = fieldsOf(usage);
  end(0, { type: "end", reason: textOf(stopReason), inputTokens, outputTokens });
}

const task = files.readFileSync(0, "utf8");
// Each waits for the other end, which the shell opens in this order.
const out = new Socket({ fd: files.openSync(toAgent, "w"), readable: false, writable: true });
const peer = new Peer(out);
const from = new Socket({ fd: files.openSync(fromAgent, "r"), readable: true, writable: false });
files.unlinkSync(toAgent);
files.unlinkSync(fromAgent);
process.on("uncaughtException", (error) => {
  fail(error.message);
});
out.on("error", () => {
  if (!hasAnswered) fail("it reads no more");
});
from.on("data", (chunk: Buffer) => {
  peer.read(chunk);
});
from.on("close", () => {
  if (!hasAnswered) fail("it ended before it answered");
});
from.on("error", () => undefined);
converse(task).catch((error: unknown) => {
  fail(error instanceof Error ? error.message : "it failed");
});
