import { latin1 } from "./git-file.ts";
import { corrupt } from "./git-problem.ts";

/** What a commit says of where it stands. */
export interface GitCommit {
  readonly tree: string;
  readonly parents: readonly string[];
}

/** @throws ERR_GIT_OBJECT_CORRUPT */
export function parseGitCommit(bytes: Uint8Array): GitCommit {
  const end = bytes.indexOf(0x0a, 0);
  const tree = /^tree ([0-9a-f]{40,64})$/.exec(latin1(bytes.subarray(0, Math.max(0, end))))?.[1];
  if (tree === undefined) throw corrupt("a commit names no tree");
  const width = "parent ".length + tree.length + 1;
  const parents: string[] = [];
  for (let at = end + 1; ; at += width) {
    const line = latin1(bytes.subarray(at, at + width));
    const parent = /^parent ([0-9a-f]{40,64})\n$/.exec(line)?.[1];
    if (parent === undefined) return { tree, parents };
    parents.push(parent);
  }
}

/** The commit that a tag stands for is named in its first line. */
export function taggedObject(bytes: Uint8Array): string | null {
  const line = latin1(bytes.subarray(0, 80)).split("\n")[0] ?? "";
  return /^object ([0-9a-f]{40,64})$/.exec(line)?.[1] ?? null;
}
