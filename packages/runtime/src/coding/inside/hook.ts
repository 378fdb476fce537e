import { readFileSync, writeSync } from "node:fs";
import { connect } from "node:net";

/**
 * Runs in the sandbox, once before and once after each tool call: hands what the agent told it to the
 * run's socket, and the answer back.
 *
 * Whatever goes wrong is a denial, in all three forms that agents understand: a complete answer, text
 * on standard error, and exit 2. Some take one of them for leave to go on.
 */
const [path = "", denial = "", deadline = ""] = process.argv.slice(2);

function deny(why: string, answer = denial): never {
  writeSync(1, answer);
  writeSync(2, `sovereign: ${why}\n`);
  process.exit(2);
}

process.on("uncaughtException", () => deny("the hook failed"));
setTimeout(() => deny("nobody answered in time"), Number(deadline));

/** `allow`, `deny` or `seen`, how many bytes of answer follow, and why: half an answer is none. */
function end(reply: Buffer): never {
  const line = reply.indexOf("\n");
  const [word, bytes, ...why] = reply.subarray(0, line).toString("utf8").split(" ");
  const answer = reply.subarray(line + 1);
  if (line < 0 || answer.length !== Number(bytes)) deny("the answer is cut off");
  if (word === "deny") deny(`denied: ${why.join(" ")}`, answer.toString("utf8"));
  if (word !== "allow" && word !== "seen") deny("the answer is none");
  for (let at = 0; at < answer.length; ) at += writeSync(1, answer, at);
  process.exit(0);
}

const told = readFileSync(0);
const socket = connect({ path, allowHalfOpen: true });
const parts: Buffer[] = [];
socket.on("data", (part) => parts.push(part));
socket.on("end", () => end(Buffer.concat(parts)));
socket.on("error", () => deny("nobody listens"));
socket.end(told);
