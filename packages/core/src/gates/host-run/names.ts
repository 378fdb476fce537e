import { foldName, foldNames } from "../folded-names.ts";
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

export function nameTable(rows: readonly HostRunRow[]): NameTable {
  const exact = new Map<string, Form[]>();
  const wild: Form[] = [];
  for (const form of rows.flatMap((one) => one.names.map((name) => formOf(one, name)))) {
    const [first] = form.parts;
    if (typeof first !== "string") wild.push(form);
    else exact.set(first, [...(exact.get(first) ?? []), form]);
  }
  const find = (path: string, isLink = false): HostRunRow | null => {
    const names = foldNames(path);
    for (const [at, name] of names.entries()) {
      const forms = [...(exact.get(name) ?? []), ...wild];
      const found = forms.find((form) => stands(form, names, at, isLink));
      if (found !== undefined) return found.row;
    }
    return null;
  };
  return { find };
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

function stands(form: Form, names: readonly string[], at: number, isLink: boolean): boolean {
  const { parts, folder, telling } = form;
  const there = Math.min(parts.length, names.length - at);
  for (let index = 0; index < there; index++) {
    const part = parts[index] as Part;
    const name = names[at + index] as string;
    if (typeof part === "string" ? part !== name : !part.test(name)) return false;
  }
  if (there < parts.length) return telling || isLink;
  return folder || at + parts.length === names.length;
}
