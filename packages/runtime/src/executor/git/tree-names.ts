import type { TreeEntry } from "@sovereign/core";
import type { Git } from "./git.ts";

/** Every path of a tree that git knows, as the judgement of trees wants it. */
export type TreeNames = Map<string, TreeEntry>;

const KINDS: Readonly<Record<string, TreeEntry["kind"]>> = {
  "120000": "link",
  "160000": "gitlink",
};

/** Read them, with where each link leads. Names that are not UTF-8 are a user's own: they stay. */
export async function readTreeNames(git: Git, tree: string): Promise<TreeNames> {
  const rows = Buffer.from(await git.bytes(["ls-tree", "-r", "-z", "--full-tree", tree]))
    .toString("utf8")
    .split("\0")
    .filter((row) => row !== "")
    .map((row) => {
      const tab = row.indexOf("\t");
      const [mode = "", , id = ""] = row.slice(0, tab).split(" ");
      return { kind: KINDS[mode] ?? "file", id, path: row.slice(tab + 1) };
    });
  const links = rows.filter((one) => one.kind === "link");
  const targets = await readTargets(
    git,
    links.map((one) => one.id),
  );
  return new Map(
    rows.map(({ kind, id, path }) => [path, { kind, target: targets.get(id) ?? null }]),
  );
}

/** Of a change, what is there after it. */
interface Made {
  readonly path: string;
  readonly after: TreeEntry["kind"] | "executable" | null;
  readonly target: string | null;
}

/** The names of the tree that these changes make of another. Changes it in place. */
export function applyChanges(names: TreeNames, changes: readonly Made[]): TreeNames {
  for (const { path, after, target } of changes) {
    if (after === null) names.delete(path);
    else names.set(path, { kind: after === "executable" ? "file" : after, target });
  }
  return names;
}

/** The kernel follows no longer one. */
const TARGET_BYTES_MAX = 4096;

/** `<id> blob <bytes>\n<bytes>\n` for each. */
async function readTargets(git: Git, ids: readonly string[]): Promise<Map<string, string>> {
  const targets = new Map<string, string>();
  if (ids.length === 0) return targets;
  const input = `${[...new Set(ids)].join("\n")}\n`;
  const said = Buffer.from(await git.bytes(["cat-file", "--batch"], { input }));
  for (let at = 0; at < said.length; ) {
    const end = said.indexOf(0x0a, at);
    const [id = "", , size = ""] = said.subarray(at, end).toString("latin1").split(" ");
    const to = end + 1 + Number(size);
    const bytes = said.subarray(end + 1, to);
    if (bytes.length <= TARGET_BYTES_MAX) targets.set(id, bytes.toString("utf8"));
    at = to + 1;
  }
  return targets;
}
