import { cutText } from "@sovereign/core";
/** What a step's commit says. */
export interface CommitText {
  /** `step_01` */
  readonly stepId: string;
  readonly operations: number;
  readonly requestId: string;
  readonly requestDigest: string;
  readonly runId: string;
  /** What the request wants said: the first line is the subject; untrusted. */
  readonly note: string;
  /** `Name <address>` of those who wrote it, too. */
  readonly coAuthors: readonly string[];
}

const NOTE_LINES_MAX = 100;
const NOTE_CHARS_MAX = 200;

/**
 * The message of a step's commit: the user's own words, and then lines of ours.
 *
 * `git am` reads the message back out of the patch. It takes a line such as `---` or `diff --git …`
 * for the start of the patch itself, and one such as `From: …` for who made it. Nobody's words may
 * stand as a line of ours, either: so such lines are indented.
 */
export function commitMessage(text: CommitText): string {
  const [subject, ...rest] = noteLines(text.note);
  const count = text.operations === 1 ? "1 operation" : `${text.operations} operations`;
  const body = paragraphs(rest.map((line) => (isTaken(line) ? `  ${line}` : line)));
  return [
    subject?.replaceAll(/\s+/g, " ").trim() ?? `${text.stepId}: ${count}`,
    "",
    ...(body.length === 0 ? [] : [...body, ""]),
    `Sovereign-Request: ${text.requestId} ${text.requestDigest}`,
    `Sovereign-Run: ${text.runId}`,
    `Sovereign-Step: ${text.stepId}`,
    ...text.coAuthors.map((one) => `Co-authored-by: ${one}`),
    "",
  ].join("\n");
}

/** Lines that git, or whoever reads the trailers, would take for something else than words. */
const TAKEN = [
  /^(?:---|===|\+\+\+|diff |index:? |\*\*\* |@@ |>?from )/i,
  /^(?:from|date|subject|sender|to|cc|message-id|mime-version|content-[a-z-]+)\s*:/i,
  /^(?:sovereign-[a-z-]*|co-authored-by)\s*:/i,
  /^(?:[-=_*#~+]{3,}|-+\s*(?:8<|>8|✂))/,
  /^\[patch/i,
];

function isTaken(line: string): boolean {
  return TAKEN.some((form) => form.test(line));
}

/** One empty line between paragraphs, none at an end: so reading it back changes nothing in it. */
function paragraphs(lines: readonly string[]): string[] {
  const kept: string[] = [];
  for (const line of lines) if (line !== "" || (kept.at(-1) ?? "") !== "") kept.push(line);
  if (kept.at(-1) === "") kept.pop();
  return kept;
}

/** Printable lines without spaces at their ends; the first is not empty. */
function noteLines(note: string): string[] {
  const lines = note
    .slice(0, NOTE_LINES_MAX * NOTE_CHARS_MAX)
    .toWellFormed()
    .split(/\r\n|[\n\r\u2028\u2029\u0085]/)
    .map((line) => cutText(line.replaceAll(/[\p{Cc}\p{Cf}\u00ad]/gu, " "), NOTE_CHARS_MAX))
    .map((line) => line.trimEnd());
  const first = lines.findIndex((line) => line.trim() !== "");
  return first < 0 ? [] : lines.slice(first, first + NOTE_LINES_MAX);
}
