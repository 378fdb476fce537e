/**
 * Files of one tool that the tool finds by their names, and runs or obeys, on the machine of
 * whoever works in the repository or of a host that builds it.
 */
export interface HostRunRow {
  readonly tool: string;
  /**
   * Names, at any depth of the tree: `*` is any run of characters in one name; `/**` at the end
   * stands for the folder and everything in it.
   */
  readonly names: readonly string[];
  /** What happens without anybody asking for it. */
  readonly why: string;
  readonly source: string;
}

/** @param names separated by spaces */
export function row(tool: string, names: string, why: string, source: string): HostRunRow {
  return { tool, names: names.split(/\s+/), why, source };
}
