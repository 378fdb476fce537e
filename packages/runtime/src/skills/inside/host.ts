import { createRequire } from "node:module";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { createCall, SkillFailure } from "./call.ts";
import { isPlainJson } from "./plain-json.ts";
import { findRun } from "./runs.ts";

/**
 * Runs in the sandbox: takes one call a line and answers each with one line, in any order. It needs
 * no module of ours but its neighbours, and holds no secret.
 *
 * Its words: the socket of the control, the gateway's or nothing, and where libraries lie.
 */
const [path = "", gateway = "", modules = ""] = process.argv.slice(2);
const library = createRequire(`${modules}/`);

interface Line {
  readonly id: number;
  readonly skill: string;
  readonly input: unknown;
  readonly key: string;
  readonly token: string;
  readonly model: { readonly socket: string; readonly wire: string } | null;
}

async function perform({ skill, input, key, token, model }: Line): Promise<object> {
  const run = findRun(skill);
  if (run === null) throw new SkillFailure(`there is no skill ${skill} in this host`);
  const call = createCall({ idempotencyKey: key, gateway, token, model, library });
  const { value = null, keep = [] } = await run(input as never, call);
  if (!isPlainJson(value)) throw new SkillFailure("what it gives is no plain JSON");
  const kept = keep.map(({ name, type, bytes }) => ({
    name,
    type,
    base64: Buffer.from(bytes).toString("base64"),
  }));
  return { value, keep: kept };
}

async function answer(line: string): Promise<string> {
  const asked = JSON.parse(line) as Line;
  try {
    return JSON.stringify({ id: asked.id, ...(await perform(asked)) });
  } catch (error) {
    const { message = "it failed" } = error as { message?: string };
    const code = error instanceof SkillFailure ? error.code : "ERR_SKILL_FAILED";
    return JSON.stringify({
      id: asked.id,
      error: { code, text: message.slice(0, 1000).toWellFormed() },
    });
  }
}

const socket = connect(path);
socket.on("close", () => process.exit(0));
socket.on("error", () => process.exit(1));
createInterface({ input: socket }).on("line", (line) => {
  void answer(line).then((text) => socket.write(`${text}\n`));
});
