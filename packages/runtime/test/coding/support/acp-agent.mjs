/**
 * An agent that speaks the Agent Client Protocol, or pretends to: what it does stands in its first
 * word. It runs in the sandbox, as a file of the repository.
 */
import {
  mkdirSync,
  readFileSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createInterface } from "node:readline";

const [how = "honest"] = process.argv.slice(2);
const waiting = new Map();
let last = 100;

function send(message) {
  const bytes = Buffer.from(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
}

/** @returns the whole answer, with its result or its error */
function ask(method, params) {
  last += 1;
  const id = last;
  send({ id, method, params: { sessionId: "s1", ...params } });
  return new Promise((resolve) => waiting.set(id, resolve));
}

function update(told) {
  send({ method: "session/update", params: { sessionId: "s1", update: told } });
}

function say(text) {
  update({ sessionUpdate: "agent_message_chunk", content: { type: "text", text } });
}

const OPTIONS = [
  { optionId: "always", kind: "allow_always", name: "Always" },
  { optionId: "once", kind: "allow_once", name: "Once" },
  { optionId: "no", kind: "reject_once", name: "No" },
];

/** Where it keeps what it was told. */
const kept = `${process.env.XDG_DATA_HOME}/acp-agent`;
const LOADS = ["remembers", "forgets", "meddles"];

async function permission(toolCall, options = OPTIONS) {
  update({ sessionUpdate: "tool_call", status: "pending", ...toolCall });
  const { result } = await ask("session/request_permission", { toolCall, options });
  return result?.outcome?.optionId ?? result?.outcome?.outcome ?? "error";
}

function edit(id, path) {
  const diff = { type: "diff", path: `/workspace/${path}`, oldText: null, newText: "new\n" };
  return { toolCallId: id, title: `Write ${path}`, kind: "edit", content: [diff] };
}

function ended(toolCallId, status = "completed") {
  update({ sessionUpdate: "tool_call_update", toolCallId, status, rawOutput: { ok: true } });
}

const acts = {
  async honest() {
    say("I write ");
    if ((await permission(edit("c1", "b.txt"))) === "once") writeFileSync("b.txt", "new\n");
    ended("c1");
    const path = "/workspace/made/c.txt";
    await ask("fs/write_text_file", { path, content: "of the client\n" });
    const { result } = await ask("fs/read_text_file", {
      path: "/workspace/a.txt",
      line: 1,
      limit: 1,
    });
    say(`and read: ${result.content}`);
  },
  async remembers(told) {
    if (earlier === "") {
      mkdirSync(kept, { recursive: true });
      writeFileSync(`${kept}/s1.txt`, told);
      if ((await permission(edit("c1", "b.txt"))) === "once") writeFileSync("b.txt", "new\n");
      ended("c1");
      say("I wait for ever.");
      await new Promise(() => undefined);
    }
    if ((await permission(edit("c2", "c.txt"))) === "once") {
      writeFileSync("c.txt", `${earlier}\n${told}\n`);
    }
    ended("c2");
  },
  async forgets() {
    writeFileSync("c.txt", "from the beginning\n");
  },
  async meddles() {
    writeFileSync("c.txt", `${meddled.join(" ")}\n`);
  },
  async partly() {
    if ((await permission(edit("c1", "b.txt"))) === "once") writeFileSync("b.txt", "new\n");
    ended("c1");
    ended("c1");
    ended("c2", "failed");
    ended("c3");
  },
  async denied() {
    say(await permission(edit("c1", ".github/workflows/x.yml")));
  },
  async disobeys() {
    await permission(edit("c1", ".github/workflows/x.yml"));
    mkdirSync(".github/workflows", { recursive: true });
    writeFileSync(".github/workflows/x.yml", "on: push\n");
    ended("c1");
    await new Promise(() => undefined);
  },
  async silent() {
    writeFileSync("b.txt", "new\n");
  },
  async probes() {
    symlinkSync("/tmp", "link");
    const read = (path) => ask("fs/read_text_file", { path });
    const write = (path) => ask("fs/write_text_file", { path, content: "x" });
    const always = [OPTIONS[0], OPTIONS[2]];
    const answers = await Promise.all([
      ...["/etc/passwd", "/proc/self/environ", "/sovereign/run/hooks.sock", "a.txt", 7].map(read),
      ...["/tmp/x", "/workspace/../tmp/x", "/workspace/link/x", "/workspace/link"].map(write),
      ...["/workspace/.git/hooks/x", "/workspace/.github/workflows/y.yml"].map(write),
      ...["terminal/create", "constructor", "__proto__", "_own/method"].map((one) => ask(one, {})),
      ask("fs/read_text_file", { sessionId: "other", path: "/workspace/a.txt" }),
      ask("session/request_permission", { toolCall: {}, options: OPTIONS }),
      ask("session/request_permission", { toolCall: { toolCallId: "x".repeat(500) }, options: [] }),
    ]);
    const codes = answers.map(({ error }) => (error === undefined ? "served" : error.code));
    const outcomes = [
      await permission(edit("p1", "b.txt"), always),
      await permission({ toolCallId: "p2", kind: "edit", title: "no paths" }),
      await permission({ toolCallId: "p3", kind: "wonder", title: "of no kind" }),
      await permission({ toolCallId: "p4", kind: "execute", rawInput: { command: ["ls", "-l"] } }),
    ];
    ended("p4", "failed");
    say(JSON.stringify({ codes, outcomes }));
    unlinkSync("link");
    writeFileSync("b.txt", "new\n");
  },
  async crowd() {
    const asked = Array.from({ length: 200 }, (_, at) => permission(edit(`c${at}`, "b.txt")));
    const told = await Promise.all(asked);
    for (const [at, word] of told.entries()) if (word === "once") ended(`c${at}`);
    const refused = told.filter((word) => word === "error").length;
    for (let at = 0; at < 50_000; at++) say("many words without an end ");
    writeFileSync("b.txt", `${refused > 0 && refused < 200}\n`);
  },
  async half() {
    writeSync(1, '{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_');
    process.exit(0);
  },
  async longline() {
    const part = Buffer.alloc(1024 * 1024, "x");
    for (;;) writeSync(1, part);
  },
  async nonsense() {
    for (;;) writeSync(1, "[1]\nnot json\nnull\n");
  },
  async never() {
    await new Promise(() => undefined);
  },
  async kills() {
    process.kill(process.ppid, "SIGKILL");
    await new Promise(() => undefined);
  },
  async refuses() {
    return "refusal";
  },
};

/** What it was told in the conversation that it loaded. */
let earlier = "";
/** What it got for requests in the middle of loading. */
let meddled = [];

const answers = {
  initialize: () => ({
    protocolVersion: how === "version" ? 99 : 1,
    agentInfo: { name: "scripted" },
    agentCapabilities: { loadSession: LOADS.includes(how) },
  }),
  "session/new": () => ({ sessionId: "s1" }),
  "session/load": async () => {
    if (how === "forgets") throw new Error("no such conversation");
    // It tells all of it again, with calls that nobody asked for in this attempt.
    say("of before");
    ended("c1");
    if (how === "meddles") {
      const path = "/workspace/d.txt";
      const asked = [
        ask("session/request_permission", { toolCall: edit("m1", "d.txt"), options: OPTIONS }),
        ask("fs/write_text_file", { path, content: "d\n" }),
      ];
      meddled = (await Promise.all(asked)).map(({ error }) => error?.code ?? "served");
      return null;
    }
    earlier = readFileSync(`${kept}/s1.txt`, "utf8");
    return null;
  },
  "session/prompt": async ({ prompt }) => ({
    stopReason: (await acts[how](prompt[0].text)) ?? "end_turn",
  }),
};

// An answer to what was not asked yet is none.
if (how === "early") {
  for (const id of [2, 3]) send({ id, result: { sessionId: "s1", stopReason: "end_turn" } });
}
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, ...rest } = JSON.parse(line);
  if (method === undefined) waiting.get(id)?.(rest);
  else if (id === undefined) process.exit(0);
  else {
    const answer = async () => answers[method](rest.params);
    void answer().then(
      (result) => send({ id, result }),
      () => send({ id, error: { code: -32000, message: "it failed" } }),
    );
  }
});
