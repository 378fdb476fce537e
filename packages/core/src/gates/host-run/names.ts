import { foldName, foldNames, foldWholeNames } from "../folded-names.ts";
import type { HostRunRow } from "./row.ts";

/** Whether a path is one of some names, and which row says so. */
export interface NameTable {
  /**
   * @param path names joined by `/`, below the work tree's root
   * @param isLink it stands for whatever it leads to: then the beginning of a name is enough
   */
  find(path: string, isLink?: boolean): HostRunRow | null;
}

type Part = string | RegExp;

interface Form {
  readonly row: HostRunRow;
  readonly parts: readonly Part[];
  /** All below it, too. */
  readonly folder: boolean;
  /** Nobody else has a folder of this name: it counts alone, for a link could stand for it. */
  readonly telling: boolean;
}

/**
 * @param ends which names a `*` is held against: of a name with a colon, which is one name where
 *   the file system has no streams, what stands before it, and the whole. Earlier tables cut it.
 */
export function nameTable(rows: readonly HostRunRow[], ends: "cut" | "whole" = "whole"): NameTable {
  let forms: Forms | null = null;
  const find = (path: string, isLink = false): HostRunRow | null => {
    // Made when it is first asked: most processes ask none, and there are hundreds of names.
    forms ??= formsOf(rows);
    const { exact, wild } = forms;
    const names = foldNames(path);
    const whole = ends === "whole" && path.includes(":") ? foldWholeNames(path) : names;
    for (const [at, name] of names.entries()) {
      const named = [...(exact.get(name) ?? []), ...wild];
      const found = named.find((form) => stands(form, { names, whole }, at, isLink));
      if (found !== undefined) return found.row;
    }
    return null;
  };
  return { find };
}

interface Forms {
  readonly exact: ReadonlyMap<string, readonly Form[]>;
  readonly wild: readonly Form[];
}

function formsOf(rows: readonly HostRunRow[]): Forms {
  const exact = new Map<string, Form[]>();
  const wild: Form[] = [];
  for (const form of rows.flatMap((one) => one.names.map((name) => formOf(one, name)))) {
    const [first] = form.parts;
    if (typeof first !== "string") wild.push(form);
    else exact.set(first, [...(exact.get(first) ?? []), form]);
  }
  return { exact, wild };
}

function formOf(row: HostRunRow, name: string): Form {
  const folder = name.endsWith("/**");
  const parts = (folder ? name.slice(0, -3) : name).split("/").map(partOf);
  return { row, parts, folder, telling: /^[._]/.test(name) };
}

/** @param name of our own table: `*` and plain characters */
function partOf(name: string): Part {
  if (!name.includes("*")) return foldName(name);
  const literal = name
    .toLowerCase()
    .split("*")
    .map((text) => text.replaceAll(/[.+()[\]{}^$|\\?]/g, "\\$&"));
  return new RegExp(`^${literal.join(".*")}$`, "su");
}

interface Folded {
  readonly names: readonly string[];
  readonly whole: readonly string[];
}

function stands(form: Form, { names, whole }: Folded, at: number, isLink: boolean): boolean {
  const { parts, folder, telling } = form;
  const there = Math.min(parts.length, names.length - at);
  for (let index = 0; index < there; index++) {
    const part = parts[index] as Part;
    const name = names[at + index] as string;
    const isNamed =
      typeof part === "string"
        ? part === name
        : part.test(name) || part.test(whole[at + index] as string);
    if (!isNamed) return false;
  }
  if (there < parts.length) return telling || isLink;
  return folder || at + parts.length === names.length;
}
