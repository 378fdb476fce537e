import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  ACTIONS,
  type ActionDeclaration,
  errorCatalogue,
  formatSchemas,
  HOST_RUN_SECTIONS,
  type HostRunSection,
  JUDGED_ACTIONS,
  type JudgedAction,
  modelClaims,
  REPOSITORY_SECTION,
} from "@sovereign/core";
import { z } from "zod";
import { helpTexts } from "../packages/runtime/src/cli/index.ts";
import { batchFile } from "../packages/runtime/src/batch/index.ts";
import { SETTINGS } from "../packages/runtime/src/home/index.ts";
import { scramConfig } from "../packages/runtime/src/scram/index.ts";
import { sandboxPolicy } from "../packages/runtime/src/policy/index.ts";
import { pipelineSchema } from "../packages/runtime/src/pipeline/index.ts";
import { openApi, ROUTES } from "../packages/runtime/src/api/index.ts";
import { planFile } from "../packages/runtime/src/planning/index.ts";

import { openApiTypes } from "./openapi-types.ts";

/**
 * Writes what is generated into docs/: the error catalogue, the settings, the actions, the JSON Schemas, the layer diagram, the
 * table of files that other machines run, what the help says, and the types of the HTTP API's client.
 * With --check it writes nothing, and fails when a file is not what it would write.
 */

const ROOT = join(import.meta.dirname, "..");
const check = process.argv.includes("--check");
const stale: string[] = [];

const { LAYERS } = (await import(join(ROOT, ".dependency-cruiser.mjs"))) as {
  LAYERS: readonly (readonly string[])[];
};

write("docs/errors.md", errorsPage());
write("docs/settings.md", settingsPage());
write("docs/spec/actions.md", actionsPage());
write("docs/spec/host-run-files.md", hostRunPage());
const actionSchemas = Object.fromEntries(
  Object.entries(ACTIONS).flatMap(([type, { params, output }]): [string, z.ZodType][] => [
    [`action.${type}.params`, params],
    [`action.${type}.output`, output],
  ]),
);
const schemas = {
  ...formatSchemas,
  ...actionSchemas,
  batch: batchFile,
  "scram-config": scramConfig,
  "sandbox-policy": sandboxPolicy,
  pipeline: pipelineSchema,
  plan: planFile,
  "model-claims": modelClaims,
};
for (const [name, format] of Object.entries(schemas)) {
  write(`docs/spec/schemas/${name}.json`, schemaOf(name, format));
}
write("docs/ARCHITECTURE.md", withDiagram(read("docs/ARCHITECTURE.md")));

write(
  "packages/client/src/generated.ts",
  execFileSync("biome", ["format", "--stdin-file-path", "packages/client/src/generated.ts"], {
    cwd: ROOT,
    encoding: "utf8",
    input: openApiTypes(openApi(ROUTES)),
  }),
);

const { version } = createRequire(import.meta.url)("../packages/runtime/package.json") as {
  version: string;
};
const help = helpTexts(version);
write("packages/runtime/bin/help.json", `${JSON.stringify({ version, help }, null, 2)}\n`);
write("docs/cli.md", commandsPage(help));

if (stale.length > 0) {
  console.error(`Out of date: ${stale.join(", ")}. Type: npm run docs`);
  process.exitCode = 1;
}

function commandsPage(texts: Readonly<Record<string, string>>): string {
  const sections = Object.entries(texts).map(([words, text]) => {
    const name = words === "" ? "sovereign" : `sovereign ${words}`;
    return [`## ${name}`, "", "```text", text.trimEnd(), "```", ""].join("\n");
  });
  const first = "Generated from the program: what `--help` says of each command.";
  return ["# The command line", "", first, "", ...sections].join("\n");
}

function errorsPage(): string {
  const rows = Object.entries(errorCatalogue)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([code, { kind, http, exit, text }]) =>
        `| \`${code}\` | ${kind} | ${http} | ${exit} | ${text} |`,
    );
  return [
    "# Error codes",
    "",
    "Generated from the catalogue in `packages/core/src/errors/`. A message says more than this page: what was",
    "expected, what was found, and what to type next.",
    "",
    "| kind | what happened | what to do |",
    "|---|---|---|",
    "| `input` | The caller's bytes are wrong. | Correct them and call again. |",
    "| `denied` | Policy, authority or the kill switch said no. | Look at the reason; ask for what is missing. |",
    "| `integrity` | Evidence is wrong. | Stop, keep it, and look into it. |",
    "| `transient` | Something outside is not there now. | Try again later. |",
    "| `fatal` | The state is unknown. | Start again: a restart recovers. |",
    "",
    "| code | kind | HTTP | exit | what it says |",
    "|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

function settingsPage(): string {
  const code = (text: string | null): string => (text === null ? "" : `\`${text}\``);
  return [
    "# Settings",
    "",
    "Generated from `packages/runtime/src/home/settings.ts`. An environment variable comes before `config.yaml` in the",
    "data folder, and that comes before the default. An empty variable is not set. An unknown name in `config.yaml` is",
    "refused. Where `config.yaml` cannot be read, no work begins; the kill switch stops as it does by default.",
    "",
    "```yaml",
    "# config.yaml",
    "scram:",
    "  linger_seconds: 5",
    "```",
    "",
    "| name | variable | in `config.yaml` | default | meaning |",
    "|---|---|---|---|---|",
    ...SETTINGS.map((one) => {
      const { name, environment, inFile, description } = one;
      const fallback =
        typeof one.default === "string"
          ? `\`${one.default}\``
          : one.default === null
            ? "none"
            : `\`${JSON.stringify(one.default)}\``;
      return `| ${code(name)} | ${code(environment)} | ${inFile ? "yes" : ""} | ${fallback} | ${description} |`;
    }),
    "",
  ].join("\n");
}

function actionsPage(): string {
  return [
    "# Actions",
    "",
    "Generated from the catalogue in `packages/core/src/actions/`. The kernel executes actions of these types. It",
    "refuses any other type with `ERR_ACTION_UNKNOWN`.",
    "",
    "- **Asked for by** lists the words of a request's operation. Without a word, only the runtime asks for it.",
    "- **Policy matches** says what the patterns of a policy are held against, and its word in a policy file.",
    "- **After a crash** says what happens if nobody recorded how the action ended. `again`: it is done again.",
    "  `recalled`: its effect first says whether it happened.",
    "",
    "| type | what it does | asked for by | policy matches | after a crash | schemas |",
    "|---|---|---|---|---|---|",
    ...Object.entries(ACTIONS).map(([type, one]) => actionRow(type, one)),
    "",
    "## Actions of tools and proxies",
    "",
    "Policy decides on these, and no effect of the kernel carries them out. A tool's call is recorded with",
    "`agent.tool_call`. A proxy asks before it sends a byte, and records by the events that are listed.",
    "",
    "| type | what it does | policy matches | events |",
    "|---|---|---|---|",
    ...Object.entries(JUDGED_ACTIONS).map(([type, one]) => judgedRow(type, one)),
    "",
  ].join("\n");
}

function actionRow(type: string, one: ActionDeclaration): string {
  const quote = (words: readonly string[]): string => words.map((word) => `\`${word}\``).join(", ");
  const { matches, morePaths = [], words = [] } = one.policy;
  const more = morePaths.length === 0 ? "" : ` and ${quote(morePaths)}`;
  const named = words.length === 0 ? "" : `, as ${quote(words)}`;
  const schema = (part: string): string => `[${part}](schemas/action.${type}.${part}.json)`;
  const cells = [
    `\`${type}\``,
    one.text,
    quote(one.request?.words ?? []),
    `${matches}${more}${named}`,
    one.repeats,
    `${schema("params")} ${schema("output")}`,
  ];
  return `| ${cells.join(" | ")} |`;
}

function judgedRow(type: string, { text, policy, events }: JudgedAction): string {
  const { matches, words = [] } = policy;
  const named = words.length === 0 ? "" : `, as \`${words.join("`, `")}\``;
  const told = events.map((event) => `[\`${event}\`](schemas/event.${event}.json)`);
  return `| \`${type}\` | ${text} | ${matches}${named} | ${told.join(" ")} |`;
}

function hostRunPage(): string {
  return [
    "# Files that tools on other machines run",
    "",
    "Generated from the table in `packages/core/src/gates/host-run/`. A name counts at any depth of the",
    "tree. `*` stands for any characters of one name; `/**` for the folder and everything in it. Names are",
    "compared as the least particular file system could read them: letters folded, unseen characters and",
    "trailing dots and spaces left out. A file counts, too, if a link of such a name leads to it.",
    "",
    "A step changes one of these files only where `allowlist.host_run_paths` of the policy names its path:",
    "see [policy](policy.md#files-that-other-machines-run).",
    "",
    ...HOST_RUN_SECTIONS.flatMap(sectionOf),
    ...sectionOf(REPOSITORY_SECTION),
    "No step changes one of these last, whatever the policy says; nor any folder that git would discover as",
    "a repository: see [executor](executor.md#what-a-step-may-change).",
    "",
    ...onPurpose(),
  ].join("\n");
}

/** What a reader could miss in the table, and why it is not there. */
function onPurpose(): string[] {
  return [
    "## Not in the table",
    "",
    "These files are part of ordinary work, and a person runs them on purpose, as part of a build, a test or a",
    "deployment. Deny them by `deny_paths` where nobody reads a change before it is built. Some editors build or",
    "collect tests when a project is opened: open a change in restricted mode first.",
    "",
    "- **Builds.** `package.json` scripts, `Makefile`, `CMakeLists.txt`, `CMakePresets.json`, `build.rs`,",
    "  `build.gradle`, `settings.gradle`, `pom.xml`, `build.sbt`, `mix.exs`, `Rakefile`, `Gemfile`, `Package.swift`,",
    "  `build.zig`, `setup.py`, `flake.nix`, `meson.build`, `BUCK`, `BUILD.bazel`, `MODULE.bazel`, `Justfile`,",
    "  `Taskfile.yml`, `Earthfile`, `dagger.json`, `//go:generate` lines, bundlers' configurations such as",
    "  `vite.config.ts` or `babel.config.js`, Xcode's projects and workspaces, `SConstruct`, `Podfile`, `Brewfile`.",
    "- **Tests.** `conftest.py`, `pytest.ini`, `tox.ini`, `noxfile.py`, `vitest.config.ts`, `jest.config.js`,",
    "  `.mocharc.js`, `phpunit.xml`, `.coveragerc`, `.taprc`, `.nycrc`.",
    "- **Sessions and services.** `.tmuxp.yaml`, `.tmuxinator.yml`, `process-compose.yaml`, `.ddev`, `.lando.yml`,",
    "  `nodemon.json`: somebody starts them by name.",
    "- **What a job of a host reads.** `.releaserc`, `Dangerfile`, `.mega-linter.yml`, `qodana.yaml` and the like run only",
    "  where a workflow starts their tool. Workflows are in the table; what they start is not followed.",
    "- **Deployment.** `Dockerfile`, `compose.yaml`, `Vagrantfile`, `Tiltfile`, `skaffold.yaml`, `serverless.yml`,",
    "  Terraform's files.",
    "- **Configuration of several tools.** `pyproject.toml` (also names the build backend), `setup.cfg`, `tsconfig.json`,",
    "  `deno.json`, `Cargo.toml`, `go.mod`, `composer.json`.",
    "- **Rules for people.** `CODEOWNERS` runs nothing; who may change it takes a reviewer away.",
    "- **Data.** `*.pth` is run by Python in a folder of packages alone, and those folders are in the table.",
    "",
  ];
}

/** As lists: a table's rows would be wider than a page. */
function sectionOf({ title, rows }: HostRunSection): string[] {
  const items = rows.flatMap(({ tool, names, why, source }) => [
    ...wrapped(`- **${tool}.** ${why}`.split(" ")).map((line, at) =>
      at === 0 ? line.trim() : line,
    ),
    `  <${source}>`,
    ...wrapped(names.map((name) => `\`${name}\``)),
  ]);
  return [`## ${title}`, "", ...items, ""];
}

function wrapped(words: readonly string[]): string[] {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < 110) lines.push(`${lines.pop()} ${word}`);
    else lines.push(`  ${word}`);
  }
  return lines;
}

function schemaOf(name: string, format: z.ZodType): string {
  const schema = z.toJSONSchema(format, {
    target: "draft-2020-12",
    io: "input",
    unrepresentable: "any",
  });
  const { $schema, ...rest } = schema;
  const document = { $schema, $id: `urn:sovereign:schema:${name}:v1`, ...rest };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** The order of the folders, as the linted rules have it: an arrow means "may import". */
function withDiagram(page: string): string {
  const [begin, end] = ["<!-- layers: generated -->", "<!-- /layers -->"];
  const rows = [["core"], ["verify"], ...LAYERS];
  const lines = rows.map((row, index) => `  L${index}["${row.join(" · ")}"]`);
  const arrows = rows.slice(1).map((_, index) => `  L${index + 1} --> L${index}`);
  const diagram = ["```mermaid", "flowchart BT", ...lines, ...arrows, "```"].join("\n");
  const [before = "", rest = ""] = page.split(begin);
  const after = rest.split(end)[1] ?? "";
  return `${before}${begin}\n${diagram}\n${end}${after}`;
}

function read(path: string): string {
  return existsSync(join(ROOT, path)) ? readFileSync(join(ROOT, path), "utf8") : "";
}

function write(path: string, text: string): void {
  if (read(path) === text) return;
  if (check) {
    stale.push(path);
    return;
  }
  mkdirSync(join(ROOT, path, ".."), { recursive: true });
  writeFileSync(join(ROOT, path), text);
}
