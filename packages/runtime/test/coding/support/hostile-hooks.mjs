/**
 * A program of the sandbox that speaks to the run's socket as a hook does, and means it ill. What it was
 * answered it leaves in answers.json: for each question the first word, or `none`.
 */
import { writeFileSync } from "node:fs";
import { connect } from "node:net";

const SOCKET = "/sovereign/run/hooks.sock";

/** @returns what was answered; `none` where the other side hung up */
function ask(body) {
  return new Promise((resolve) => {
    const socket = connect({ path: SOCKET, allowHalfOpen: true });
    const parts = [];
    socket.on("data", (part) => parts.push(part));
    socket.on("error", () => resolve("none"));
    socket.on("close", () => resolve(Buffer.concat(parts).toString("utf8") || "none"));
    socket.on("end", () => socket.end());
    socket.end(body);
  });
}

const wordOf = (answer) => answer.split(" ")[0];

function call(id, tool, input, more = {}) {
  const told = { hook_event_name: "PreToolUse", tool_use_id: id, tool_name: tool };
  return JSON.stringify({ ...told, tool_input: input, ...more });
}

const after = (id, tool, response) =>
  call(id, tool, {}, { hook_event_name: "PostToolUse", tool_response: response });

const deep = "[".repeat(200_000) + "]".repeat(200_000);
const write = (path) => ({ file_path: path, content: "x" });
const NUL = "\u0000";

const answers = {};
const questions = {
  empty: "",
  "no object": "[]",
  "no json": "{",
  "a key twice": `{"hook_event_name":"PostToolUse",${call("k", "Bash", { command: "ls" }).slice(1)}`,
  "half a character": call("h", "Bash", {}).replace('"h"', '"\\ud800"'),
  "deep arguments": call("d", "Bash", {}).replace("{}", `{"command":"ls","x":${deep}}`),
  "another event": call("e", "Bash", { command: "ls" }, { hook_event_name: "Stop" }),
  "a long name": call("l", "B".repeat(201), {}),
  "a long id": call("i".repeat(201), "Bash", { command: "ls" }),
  "no arguments": call("n", "Bash", null),
  "a tool in small letters": call("t1", "bash", { command: "ls" }),
  "a tool with a space": call("t2", "Bash ", { command: "ls" }),
  "a tool with a line's end": call("t3", "Bash\n", { command: "ls" }),
  "every tool": call("t4", "*", {}),
  "every path of tools": call("t5", "**", {}),
  "a tool of the prototype": call("t6", "__proto__", {}),
  "a tool of all objects": call("t7", "constructor", {}),
  "a path of tools": call("t8", "Bash/../Write", {}),
  "a command of 1 MiB": call("c1", "Bash", { command: `echo ${"x".repeat(1024 * 1024)}` }),
  "a command that is a list": call("c2", "Bash", { command: ["ls"] }),
  "a file of git": call("w1", "Write", write("/workspace/.git/hooks/pre-commit")),
  "a workflow": call("w2", "Write", write(".github/workflows/x.yml")),
  "a workflow by a detour": call("w3", "Write", write("/tmp/../workspace/.github/workflows/x.yml")),
  "a workflow by two slashes": call("w4", "Write", write("//workspace//.github//workflows/x.yml")),
  "a workflow of the home": call(
    "w5",
    "Write",
    write("/home/agent/../../workspace/.github/workflows/x.yml"),
  ),
  "a workflow by the process": call(
    "w6",
    "Write",
    write("/proc/self/root/workspace/.github/workflows/x.yml"),
  ),
  "a path with a zero": call("w7", "Write", write(`a.txt${NUL}.github/workflows/x.yml`)),
  "a path that is a list": call("w8", "Write", write(["a.txt"])),
  "the users of the system": call("w9", "Write", write("/etc/passwd")),
  "a path of 100 kB": call("w10", "Write", write("a/".repeat(50_000))),
  "names of the prototype": call("p1", "Write", {}).replace(
    '"tool_input":{}',
    '"tool_input":{"__proto__":{"file_path":"/workspace/a.txt"}}',
  ),
  "many long names": call("p2", "Write", {
    ...Object.fromEntries(Array.from({ length: 5000 }, (_, at) => [`${"n".repeat(100)}${at}`, at])),
    ...write("/workspace/many.txt"),
  }),
  "an end of nothing": after("nobody", "Bash", { ok: true }),
};
for (const [name, body] of Object.entries(questions)) answers[name] = wordOf(await ask(body));

// One call, asked twice at once: one of them is let through, and its end is told once.
const twice = call("twice", "Write", write("/workspace/b.txt"));
const words = (await Promise.all([ask(twice), ask(twice)])).map(wordOf);
answers["one call twice"] = words.toSorted().join(" ");
answers["its end"] = wordOf(await ask(after("twice", "Write", "x".repeat(4 * 1024 * 1024))));
answers["its end again"] = wordOf(await ask(after("twice", "Write", "other")));
answers["the call of before"] = wordOf(await ask(after("p2", "Write", { ok: true })));

// Hooks that never end their question take all the room there is: whoever comes then is not let through.
const idle = Array.from({ length: 80 }, () => {
  const socket = connect({ path: SOCKET });
  socket.on("error", () => undefined);
  return socket;
});
await new Promise((next) => setTimeout(next, 200));
answers["in a crowd"] = wordOf(await ask(call("crowd", "Write", write("/workspace/b.txt"))));
for (const socket of idle) socket.destroy();
for (let tries = 0; tries < 100; tries += 1) {
  const word = wordOf(await ask(call(`last${tries}`, "Read", { file_path: "/workspace/a.txt" })));
  answers["after the crowd"] = word;
  if (word === "allow") break;
  await new Promise((next) => setTimeout(next, 100));
}
writeFileSync("answers.json", `${JSON.stringify(answers)}\n`);
console.log(JSON.stringify(answers));
