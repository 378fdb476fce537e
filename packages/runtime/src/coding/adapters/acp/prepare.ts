import type { AgentTask, PreparedAgent } from "../../adapter.ts";
import { INSIDE, NODE } from "../../inside-paths.ts";
import { wordsFor } from "../../task-words.ts";
import { MASKED, modelNames, OWN_MODEL } from "../named-command.ts";
import { DEFAULT_MODEL, OPENCODE, settingsOf } from "../opencode/prepare.ts";

const TO_AGENT = "/tmp/to-agent";
const FROM_AGENT = "/tmp/from-agent";

/** In the folder of its conversation: where the agent finds what it keeps between attempts. */
export const KEPT = "data";
const KEEPS = `${INSIDE.session}/${KEPT}`;

/**
 * The first word is the conversation to go on with, or empty; the agent's words follow. Our client is the other end of its pipes; it takes the task from standard
 * input, and its end is the agent's.
 */
const SCRIPT = `earlier=$1
shift
mkdir -p ${KEEPS} && mkfifo ${TO_AGENT} ${FROM_AGENT} || exit 125
exec 3<&0
"$@" <${TO_AGENT} >${FROM_AGENT} 3<&- &
exec ${NODE.join(" ")} ${INSIDE.acpClient} ${INSIDE.hookSocket} ${TO_AGENT} ${FROM_AGENT} "$earlier" <&3 3<&-
`;

/** An agent whose settings we know is made to ask for each call. */
export function prepare(task: AgentTask): PreparedAgent {
  const { command, resume = "" } = task;
  const settings = command[0] === OPENCODE ? openCodeSettings(task) : undefined;
  return {
    argv: ["/bin/sh", "-c", SCRIPT, "sh", resume, ...command],
    env: {
      ...modelNames(task),
      ...settings?.env,
      XDG_DATA_HOME: KEEPS,
      XDG_STATE_HOME: KEEPS,
    },
    stdin: wordsFor(task),
    files: settings?.files ?? {},
    masked: MASKED,
    needsMasks: settings?.needsMasks ?? false,
  };
}

function openCodeSettings(task: AgentTask): ReturnType<typeof settingsOf> {
  const model = task.model === OWN_MODEL ? DEFAULT_MODEL : task.model;
  return settingsOf({ ...task, model }, { plugin: [], rule: "ask" });
}
