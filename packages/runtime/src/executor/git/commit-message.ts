/** What a step's commit says. Everything but `note` is ours. */
export interface CommitText {
  /** `step_01` */
  readonly stepId: string;
  readonly operations: number;
  readonly requestId: string;
  readonly requestDigest: string;
  /** What the request wants said; untrusted. */
  readonly note: string;
}

const NOTE_LINES_MAX = 40;
const NOTE_CHARS_MAX = 200;

/**
 * The message of a step's commit. `git am` reads the message back out of the patch, and takes a
 * line such as `---` or `diff --git …` for the start of the patch itself: so all that others wrote
 * is indented, and no line of theirs can ever begin one.
 */
export function commitMessage(text: CommitText): string {
  const count = text.operations === 1 ? "1 operation" : `${text.operations} operations`;
  const note = noteLines(text.note);
  return [
    `${text.stepId}: ${count}`,
    "",
    ...(note.length === 0 ? [] : [...note.map((line) => `  ${line}`), ""]),
    `Sovereign-Request: ${text.requestId} ${text.requestDigest}`,
    `Sovereign-Step: ${text.stepId}`,
    "",
  ].join("\n");
}

/** Printable lines, none empty: so reading the message back changes nothing in it. */
function noteLines(note: string): string[] {
  return note
    .slice(0, NOTE_LINES_MAX * NOTE_CHARS_MAX)
    .toWellFormed()
    .split(/\r\n|[\n\r\u2028\u2029\u0085]/)
    .map((line) => line.replaceAll(/[\p{Cc}\p{Cf}\u00ad]/gu, " ").slice(0, NOTE_CHARS_MAX))
    .map((line) => line.toWellFormed().trimEnd())
    .filter((line) => line !== "")
    .slice(0, NOTE_LINES_MAX);
}
