import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { listFiles } from "./files.ts";

const documents = listFiles(/\.md$/);
const files = listFiles(/./);
const read = (path: string): string => readFileSync(path, "utf8");

/** What GitHub and others make of a heading. */
function anchorsOf(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) => title);
  return new Set(
    headings.map((title) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
        .trim()
        .replaceAll(/\s/g, "-"),
    ),
  );
}

function brokenLinks(path: string, text = read(path)): string[] {
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link);
  return links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [file = "", anchor] = link.split("#");
    const target = join(dirname(path), file);
    if (file !== "" && !existsSync(target)) return true;
    if (anchor === undefined) return false;
    return !anchorsOf(file === "" ? text : read(target)).has(anchor);
  });
}

/** Code between backticks. */
const quoted = (text: string): string[] =>
  [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = ""]) => code);

/** The specification names files of other tools, too: its paths are not looked for. */
function missingPaths(path: string, text = read(path)): string[] {
  if (path.startsWith("docs/spec/")) return [];
  const named = quoted(text).filter(
    (code) =>
      /^[\w.-]+(\/[\w.-]+)*\.(ts|mjs|sql)$/.test(code) ||
      /^(packages|docs|test|tools|bench|examples)\/[\w./-]+[\w/]$/.test(code),
  );
  return named.filter((one) => {
    if (one.includes("node_modules/")) return false;
    const name = one.replace(/\/$/, "");
    return (
      !files.some((file) => file === name || file.endsWith(`/${name}`)) &&
      !files.some((file) => file.startsWith(`${name}/`))
    );
  });
}

const { help } = JSON.parse(read("packages/runtime/bin/help.json")) as {
  help: Readonly<Record<string, string>>;
};
const PASSED_ON = ["verify", "verify-bundle", "verify-audit", "help"];
const commands = new Set([...Object.keys(help), ...PASSED_ON]);

/** `run FILE` means `run start FILE`. */
const HAS_DEFAULT = new Set(["run", "health", "doctor", "status"]);

function unknownCommands(text: string): string[] {
  const code = `${quoted(text).join("\n")}\n${fencesOf(text)}`;
  const named = [
    ...code.matchAll(/(?:^|[$ ])sovereign ([a-z][a-z-]*)(?: ([a-z][a-z-]*(?=\s|$)))?/gm),
  ];
  return named.flatMap(([, first = "", second]) => {
    if (!commands.has(first)) return [first];
    const isGroup = [...commands].some((one) => one.startsWith(`${first} `));
    if (second === undefined || !isGroup || HAS_DEFAULT.has(first)) return [];
    return commands.has(`${first} ${second}`) ? [] : [`${first} ${second}`];
  });
}

/** Our programs' names are not ours in the registry: what installs or runs them from there is a stranger's. */
function strangersPackages(text: string): string[] {
  const calls = text.matchAll(
    /\b(?:npx|npm (?:i|install|exec)|pnpm dlx|yarn dlx|bunx)(?: -\S+)* (sovereign(?:-verify)?|scram)(?![\w/@-])/g,
  );
  return [...calls].map(([, name = ""]) => name);
}

const LINE_CHARS_MAX = 120;

/** Lines that are too long to read. What stands in fences and tables cannot be wrapped. */
function longLines(text: string): number[] {
  let fenced = false;
  return text.split("\n").flatMap((line, index) => {
    if (line.startsWith("```")) fenced = !fenced;
    const isProse = !fenced && !line.startsWith("|");
    return isProse && line.length > LINE_CHARS_MAX ? [index + 1] : [];
  });
}

/** Whoever opens a page of the specification sees an example before the rules. */
const beginsWithExample = (text: string): boolean => /^## (.+)$/m.exec(text)?.[1] === "Example";
const isGenerated = (text: string): boolean => text.includes("\nGenerated from ");
const specification = documents.filter(
  (path) => /^docs\/spec\/(?!README)/.test(path) && !isGenerated(read(path)),
);

const RECORD_LINES_MAX = 40;
const records = documents.filter((path) => /^docs\/decisions\/\d/.test(path));

/** What stands in fences. */
const fencesOf = (text: string): string =>
  [...text.matchAll(/^```[\s\S]*?^```/gm)].map(([block]) => block).join("\n");

describe("the documents", () => {
  it.each(documents)("%s leads nowhere that is not there", (path) => {
    expect({ links: brokenLinks(path), paths: missingPaths(path) }).toEqual({
      links: [],
      paths: [],
    });
  });

  it.each(documents)("%s shows no command that does not exist", (path) => {
    expect(unknownCommands(read(path))).toEqual([]);
  });

  it.each(documents)("%s has no line of more than 120 characters", (path) => {
    expect(longLines(read(path))).toEqual([]);
  });

  it.each(specification)("%s begins with an example", (path) => {
    expect(beginsWithExample(read(path))).toBe(true);
  });

  it.each(records)("%s is short, and listed", (path) => {
    expect(read(path).trimEnd().split("\n").length).toBeLessThanOrEqual(RECORD_LINES_MAX);
    expect(read("docs/decisions/README.md")).toContain(`(${path.replace(/.*\//, "")})`);
  });

  it.each(documents)("%s sends nobody to a stranger's package", (path) => {
    expect(strangersPackages(read(path))).toEqual([]);
  });

  it("would be found out", () => {
    expect(strangersPackages("`npx sovereign status` npm i -g scram\nnpx -y prettier")).toEqual([
      "sovereign",
      "scram",
    ]);
    const long = "x".repeat(LINE_CHARS_MAX + 1);
    expect(longLines(`${long}\n| ${long}\n\`\`\`\n${long}\n\`\`\`\n- ${long}`)).toEqual([1, 6]);
    expect(beginsWithExample("# A\n\n## Rules\n\n## Example")).toBe(false);
    expect(brokenLinks("docs/x.md", "[a](nowhere.md) [b](#gone)\n# Here")).toEqual([
      "nowhere.md",
      "#gone",
    ]);
    expect(missingPaths("docs/x.md", "`kernel/gone.ts` `kernel/kernel.ts` `tools/gone`")).toEqual([
      "kernel/gone.ts",
      "tools/gone",
    ]);
    expect(unknownCommands("`sovereign flee` `sovereign keys eat` `sovereign keys add`")).toEqual([
      "flee",
      "keys eat",
    ]);
  });
});
