import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export const ANY_OBJECT = { type: "object" } as const;

/** A folder of a skill of one's own, as its author writes it. */
export function writeOwnSkill(
  folder: string,
  manifest: object,
  files: Readonly<Record<string, string>>,
): string {
  const text = JSON.stringify(manifest);
  for (const [path, content] of Object.entries({ "skill.yaml": text, ...files })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

export const WORD_COUNT = {
  name: "word_count",
  version: "1.0.0",
  text: "Count the words of a text.",
  command: ["node", "main.mjs"],
  input: {
    type: "object",
    properties: { text: { type: "string", maxLength: 1000 } },
    required: ["text"],
    additionalProperties: false,
  },
  output: {
    type: "object",
    properties: { words: { type: "integer" } },
    required: ["words"],
    additionalProperties: false,
  },
};

/** Reads what it is asked, answers with what `answer` gives. */
export function program(answer: string, imports = ""): string {
  return `${imports}
let text = "";
for await (const part of process.stdin) text += part;
const { input, idempotency_key: key } = JSON.parse(text);
const answer = async () => { ${answer} };
process.stdout.write(JSON.stringify(await answer()));
`;
}

export const COUNTS = program(
  "return { value: { words: count(input.text) } };",
  'import { count } from "./lib/count.mjs";',
);
export const COUNT = 'export const count = (text) => text.split(" ").length;\n';
