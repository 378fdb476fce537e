/**
 * A program of your own that uses an agent SDK: `node examples/embed-agent/embed-agent.ts`.
 *
 * Its agent calls a model, and the model asks for tools. Each tool call goes through the kernel:
 * policy decides, the call is recorded before it is made, and its end is recorded after it. Both
 * shapes are shown that SDKs have: tools with an `execute`, as the `ai` package takes them, and a
 * permission callback, as the Claude Agent SDK has it. A scripted model stands in for a vendor.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JsonObject, utf8Encode } from "@sovereign/core";
import {
  type AgentSession,
  createAgentSession,
  INSTALLATION_KEYS,
  openInstallation,
  parsePolicy,
} from "@sovereign/runtime";
import { verifyBundle } from "@sovereign/verify";
import { ScriptedModel, type ScriptedTurn } from "../agent/scripted-model.ts";

const POLICY = `
policy_id: support-desk
schema_version: 1.0.0
agent:
  tools: { lookup: allow, readFile: judge, Bash: judge }
allowlist:
  file_operations: [read_file]
  paths: ["docs/**"]
  commands: [{ id: list, executable: ls, allowed_args: ["-l"] }]
`;

const home = mkdtempSync(join(tmpdir(), "sovereign-embed-agent-"));
const installation = await openInstallation({
  home,
  databaseUrl: null,
  passphrase: null,
  environment: { PATH: "/usr/bin:/bin" },
});
const { keyLog, keystore } = installation;
await keyLog.initialise(keystore, [...INSTALLATION_KEYS, { purpose: "role", role: "assistant" }]);

const session = await createAgentSession({
  installation,
  tenantId: "support",
  name: "support-desk",
  policy: parsePolicy(utf8Encode(POLICY), "policy.yaml"),
  role: "assistant",
  approvers: [],
  allowCompatible: false,
  signal: new AbortController().signal,
  onProgress: () => undefined,
});

/** Tools in the form of the `ai` package: what an agent is given is what the session made of them. */
const tools: Readonly<Partial<Record<string, Execute>>> = {
  lookup: session.tool("lookup", ({ order }: { order: string }) => ({ order, state: "shipped" })),
  readFile: session.tool(
    "readFile",
    ({ path }: { path: string }) => `contents of ${path}`,
    // What a call does, in policy's words: it is allowed where policy allows that.
    ({ path }) => [{ type: "file.read", resource: path, params: {} }],
  ),
};
// An SDK holds what a model asks for against a schema of the tool first.
type Execute = (input: never, options: { toolCallId: string }) => Promise<unknown>;

const model = await ScriptedModel.start({
  script: [
    call("lookup", { order: "A-17" }),
    call("readFile", { path: "docs/returns.md" }),
    call("readFile", { path: "/etc/passwd" }),
    call("refund", { order: "A-17" }),
    { text: "Your order has shipped." },
  ],
});
try {
  console.log("tools with an execute:");
  await converse("Where is my order?");
  console.log("a permission callback:");
  await askFirst(session);
  const { bundle, trustRoot, status } = await session.end();
  const trust = { trustRoot: readFileSync(trustRoot), level: "sovereign" } as const;
  const report = verifyBundle(readFileSync(bundle), trust);
  console.log(`the session ${status}, its evidence is ${report.verdict}`);
} finally {
  await model.close();
  await installation.close();
  rmSync(home, { recursive: true, force: true });
}

function call(name: string, input: JsonObject): ScriptedTurn {
  return { tools: [{ name, input }] };
}

type Block = { type: string; text: string; id: string; name: string; input: JsonObject };

/** What an SDK's loop does: ask the model, make the calls that it asks for, and tell the results. */
async function converse(question: string): Promise<void> {
  const messages: JsonObject[] = [{ role: "user", content: question }];
  for (;;) {
    const response = await fetch(`${model.url}/v1/messages`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "scripted", max_tokens: 100, messages }),
    });
    const { content } = (await response.json()) as { content: Block[] };
    const calls = content.filter(({ type }) => type === "tool_use");
    if (calls.length === 0) {
      console.log(`  ${content[0]?.text ?? ""}`);
      return;
    }
    const results: JsonObject[] = [];
    for (const { id, name, input } of calls) {
      const said = await run(name, input, id);
      console.log(`  ${name}: ${said}`);
      results.push({ type: "tool_result", tool_use_id: id, content: said });
    }
    messages.push({ role: "assistant", content }, { role: "user", content: results });
  }
}

async function run(name: string, input: JsonObject, toolCallId: string): Promise<string> {
  const execute = tools[name];
  // An SDK tells the model so by itself.
  if (execute === undefined) return "there is no such tool";
  try {
    return JSON.stringify(await execute(input as never, { toolCallId }));
  } catch (error) {
    return String((error as { code?: string }).code ?? error);
  }
}

/** As the Claude Agent SDK asks: before each call, with the answer "allow" or "deny". */
async function askFirst(asked: AgentSession): Promise<void> {
  const canUseTool = async (
    name: string,
    input: { readonly command: string },
  ): Promise<{ behavior: "allow" | "deny"; ended: (response: string) => Promise<void> }> => {
    const [resource = "", ...argv] = input.command.split(" ");
    const answer = await asked.ask(name, input, [
      { type: "command.run", resource, params: { argv } },
    ]);
    if (!answer.allowed) return { behavior: "deny", ended: () => Promise.resolve() };
    // A hook after the call tells its end.
    return { behavior: "allow", ended: (response) => answer.ended(response) };
  };
  for (const command of ["ls -l", "rm -rf /"]) {
    const { behavior, ended } = await canUseTool("Bash", { command });
    console.log(`  Bash ${command}: ${behavior}`);
    if (behavior === "allow") await ended("total 0");
  }
}
