import { spawn } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TestRepository } from "./repository.ts";
import { judgeSteps } from "./steps.ts";

const CHILD = fileURLToPath(new URL("racing-writer.ts", import.meta.url));
const FILES = 30;

export interface Race {
  readonly edits: number;
  /** What was written and stands nowhere any more. */
  readonly lost: readonly string[];
  readonly kept: number;
  /** What is kept, and no word of the move names. */
  readonly untold: readonly string[];
  readonly outcome: string;
  readonly sound: boolean;
}

interface Edit {
  readonly path: string;
  readonly way: string;
  readonly token: string;
}

/** One move of a branch beside a process that edits the same files, from a step of the move on. */
export async function race(seed: number, from: string): Promise<Race> {
  const names = Array.from({ length: FILES }, (_, at) => `src/file-${at}.txt`);
  const repo = new TestRepository(
    Object.fromEntries(names.slice(0, 20).map((path) => [path, `${path}\n`])),
  );
  try {
    const judged = await judgeSteps(repo, [
      (tree) => {
        for (const path of names.slice(0, 10)) writeFileSync(join(tree, path), `${path} after\n`);
        for (const path of names.slice(10, 20)) rmSync(join(tree, path));
        mkdirSync(join(tree, "src"), { recursive: true });
        for (const path of names.slice(20)) writeFileSync(join(tree, path), `${path} new\n`);
      },
    ]);
    const sign = (name: string): string => join(repo.folder, name);
    const task = { root: repo.root, paths: names, start: sign("start"), stop: sign("stop"), seed };
    const words = JSON.stringify({ ...task, log: sign("log") });
    const writer = spawn(process.execPath, [CHILD, words], { stdio: "inherit" });
    const ended = new Promise((end) => writer.on("close", end));
    while (!existsSync(sign("log"))) await new Promise((next) => setTimeout(next, 5));
    let outcome = "completed";
    let told = "";
    try {
      const { kept } = await judged.bring((step) => {
        if (step === from) writeFileSync(sign("start"), "");
      });
      told = kept.map((one) => one.kept).join(" ");
    } catch (error) {
      told = String(error);
      outcome = (error as { code?: string }).code ?? String(error);
    }
    writeFileSync(sign("start"), "");
    writeFileSync(sign("stop"), "");
    await ended;
    const said = readFileSync(sign("log"), "utf8").split("\n").filter(Boolean);
    const edits = said.map((line) => JSON.parse(line) as Edit);
    const keeper = join(repo.root, ".git/sovereign-kept");
    const kept = existsSync(keeper) ? readdirSync(keeper).map((name) => join(keeper, name)) : [];
    const texts = kept.map(textOf);
    const lost = wantedOf(edits).filter(
      ({ path, token }) =>
        ![textOf(join(repo.root, path)), ...texts].some((text) => text.includes(token)),
    );
    const sound = !/missing|error|broken/.test(repo.git("fsck", "--strict"));
    return {
      edits: edits.filter(({ way }) => way !== "removed").length,
      lost: lost.map(({ path, way, token }) => `${way} ${path} ${token}`),
      kept: kept.length,
      untold: told.includes(`all in ${keeper}`)
        ? []
        : kept.filter((place) => !told.includes(place)),
      outcome,
      sound,
    };
  } finally {
    repo.dispose();
  }
}

/** What the process itself did not write over or remove: the last of each path, and what it added. */
function wantedOf(edits: readonly Edit[]): Edit[] {
  const wanted = new Map<string, Edit[]>();
  for (const edit of edits) {
    if (edit.way === "mode") continue;
    const adds = edit.way === "append" || edit.way === "held";
    wanted.set(edit.path, [...(adds ? (wanted.get(edit.path) ?? []) : []), edit]);
  }
  return [...wanted.values()].flat().filter(({ way }) => way !== "removed");
}

/** All bytes that stand at a path, below a folder too. */
function textOf(path: string): string {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return "";
  // Who writes to a link writes to where it leads.
  if (found.isSymbolicLink()) {
    return readlinkSync(path) + (existsSync(path) ? readFileSync(path, "utf8") : "");
  }
  if (!found.isDirectory()) return readFileSync(path, "utf8");
  return readdirSync(path)
    .map((name) => textOf(join(path, name)))
    .join("\n");
}
