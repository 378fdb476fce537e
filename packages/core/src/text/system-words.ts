/** What the system's error codes mean to whoever named a file (errno(3)). */
const WORDS: Readonly<Record<string, string>> = {
  EACCES: "that is not permitted",
  EEXIST: "it is there already",
  EISDIR: "it is a folder",
  ELOOP: "it is a link that leads to itself",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "its name is too long",
  ENOENT: "no such file or folder",
  ENOSPC: "no space is left there",
  ENOTDIR: "a part of its path is no folder",
  ENXIO: "it is a pipe that nobody reads, or a socket",
  EPERM: "that is not permitted",
  EROFS: "the disk can only be read",
};

/** Why something failed, without the system's own codes and calls where they have words. */
export function systemWords(cause: unknown): string {
  const { code = "" } = (cause ?? {}) as { code?: unknown };
  if (typeof code === "string" && Object.hasOwn(WORDS, code)) return WORDS[code] ?? code;
  return cause instanceof Error ? cause.message : "unknown";
}
