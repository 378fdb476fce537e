import type { WorkScope } from "../formats/index.ts";
import { foldNames } from "../gates/folded-names.ts";

/** How much holding names against patterns may still cost. */
export interface ScopeWork {
  left: number;
}

/**
 * In steps of a name against a pattern. A result pack with as many files and patterns as it may have
 * takes less; without a bound, hostile ones take minutes.
 */
export const SCOPE_WORK_MAX = 64_000_000;

/**
 * Why a file may not be changed; null where it may.
 *
 * What is allowed is held by its exact name. What is forbidden is forbidden under every name that
 * some file system takes for the same, and without a slash at any depth: `.env`, `*.pem`.
 *
 * @param path untrusted; below the repository's root
 */
export function scopeProblem(path: string, scope: WorkScope): string | null {
  return scopeJudge(scope)(path);
}

/**
 * The same for many files. The work is counted by the files alone, in their order: the same files get
 * the same answers, whoever asks. When the bound is reached, no further file is in the scope.
 *
 * @param scope untrusted, of its format
 */
export function scopeJudge(
  scope: WorkScope,
  work: ScopeWork = { left: SCOPE_WORK_MAX },
): (path: string) => string | null {
  const { allowed, forbidden } = compiled(scope);
  const isAllowed = new Matching(allowed, work);
  const isForbidden = new Matching(forbidden, work);
  return (path) => {
    if (work.left <= 0) return "it is one of more names than a scope is held against";
    const names = path.split("/");
    if (forbidden.patterns.length > 0) {
      const against = isForbidden.find(foldNames(path));
      if (against !== null) return `the task's forbidden_paths name ${against}`;
    }
    if (isAllowed.find(names) !== null) return null;
    return "it is in none of the task's allowed_directories";
  };
}

/** A name with `*` in it: where in which pattern it stands. */
interface Wild {
  readonly pattern: number;
  readonly bit: number;
  readonly test: (name: string) => boolean;
}

/** Some patterns, each a line of names. Where a path stands in one is a set of bits. */
interface Patterns {
  /** As they were written. */
  readonly patterns: readonly string[];
  readonly ends: readonly number[];
  /** Where `**` stands. */
  readonly any: readonly number[];
  readonly exact: ReadonlyMap<
    string,
    readonly { readonly pattern: number; readonly bit: number }[]
  >;
  readonly wild: readonly Wild[];
}

interface CompiledScope {
  readonly allowed: Patterns;
  readonly forbidden: Patterns;
}

/** A scope is held against every file of a run: its patterns are read once. */
const KNOWN = new WeakMap<WorkScope, CompiledScope>();

function compiled(scope: WorkScope): CompiledScope {
  const known = KNOWN.get(scope);
  if (known !== undefined) return known;
  const { allowed_directories: directories, forbidden_paths: paths } = scope;
  const allowed = patternsOf(directories, (pattern) => pattern.split("/"));
  const forbidden = patternsOf(paths, (pattern) => {
    const names = foldNames(pattern);
    return names.length === 1 ? ["**", ...names] : names;
  });
  const made = { allowed, forbidden };
  KNOWN.set(scope, made);
  return made;
}

/** @param namesOf at most 30 names: see the format */
function patternsOf(
  patterns: readonly string[],
  namesOf: (pattern: string) => readonly string[],
): Patterns {
  const exact = new Map<string, { pattern: number; bit: number }[]>();
  const wild: Wild[] = [];
  const [ends, any]: [number[], number[]] = [[], []];
  for (const [pattern, written] of patterns.entries()) {
    // Two `**` beside each other say no more than one, and one step is enough to pass it.
    const names = (written === "." ? ["**"] : namesOf(written)).filter(
      (name, at, all) => name !== "**" || all[at - 1] !== "**",
    );
    ends.push(1 << names.length);
    any.push(names.reduce((mask, name, at) => (name === "**" ? mask | (1 << at) : mask), 0));
    for (const [at, name] of names.entries()) {
      const place = { pattern, bit: 1 << at };
      if (name === "**") continue;
      if (name.includes("*")) wild.push({ ...place, test: nameTest(name) });
      else exact.set(name, [...(exact.get(name) ?? []), place]);
    }
  }
  return { patterns, ends, any, exact, wild };
}

const NAMES_KEPT = 4096;

/** Holds paths against patterns, and counts what it costs. */
class Matching {
  readonly #of: Patterns;
  readonly #work: ScopeWork;
  /** For a name, where in each pattern it may stand. */
  readonly #known = new Map<string, Int32Array>();

  constructor(of: Patterns, work: ScopeWork) {
    this.#of = of;
    this.#work = work;
  }

  /** The first pattern that names the path, or a folder above it; null for none. */
  find(path: readonly string[]): string | null {
    const rows = path.map((name) => this.#rowOf(name));
    const at = this.#of.patterns.findIndex((_, pattern) => this.#matches(pattern, rows));
    return this.#of.patterns[at] ?? null;
  }

  /** One step for each name of the path, however many `**` there are. */
  #matches(pattern: number, rows: readonly Int32Array[]): boolean {
    const end = this.#of.ends[pattern] ?? 0;
    const any = this.#of.any[pattern] ?? 0;
    // `**` stands for no name, too.
    const close = (at: number): number => at | ((at & any) << 1);
    let at = close(1);
    for (const row of rows) {
      this.#work.left -= 1;
      if ((at & end) !== 0) return true;
      at = close(((at & (row[pattern] ?? 0)) << 1) | (at & any));
      if (at === 0) return false;
    }
    return (at & end) !== 0;
  }

  #rowOf(name: string): Int32Array {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const { patterns, exact, wild } = this.#of;
    const row = new Int32Array(patterns.length);
    const found = exact.get(name) ?? [];
    this.#work.left -= found.length + wild.length * (1 + (name.length >> 6));
    for (const { pattern, bit } of found) row[pattern] = (row[pattern] ?? 0) | bit;
    for (const { pattern, bit, test } of wild) {
      if (test(name)) row[pattern] = (row[pattern] ?? 0) | bit;
    }
    if (this.#known.size >= NAMES_KEPT) this.#known.clear();
    this.#known.set(name, row);
    return row;
  }
}

/** `*` stands for any signs. The parts between are looked for one after another. */
function nameTest(pattern: string): (name: string) => boolean {
  const [first = "", ...rest] = pattern.split("*");
  const last = rest.pop() ?? "";
  const least = first.length + last.length;
  return (name) => {
    if (name.length < least || !name.startsWith(first) || !name.endsWith(last)) return false;
    let at = first.length;
    for (const part of rest) {
      const found = name.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at <= name.length - last.length;
  };
}
