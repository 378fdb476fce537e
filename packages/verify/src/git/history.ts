import { parseGitCommit, taggedObject } from "./git-commit.ts";
import type { GitRepository } from "./git-repository.ts";

/** How much history is followed for commits that are not near a branch's tip. */
const COMMITS_MAX = 500_000;
/** How many parents are looked at: one commit can name millions, as often as it likes. */
const PARENTS_MAX = 2_000_000;
const TAG_DEPTH_MAX = 5;

/**
 * Say where commits stand: on the branch that they were brought to, on another, or on none any more.
 * It fails for nothing: anybody may add refs to a repository, and what they are proves nothing.
 *
 * @param wanted ids of commits that the repository has
 * @param branch the full name of the branch, or `HEAD`; untrusted
 * @returns words for each of them
 */
export function placesOf(
  repository: GitRepository,
  wanted: readonly string[],
  branch: string,
): Map<string, string> {
  const walk = new HistoryWalk(repository, wanted);
  walk.from(branch, `on ${branch}`);
  const names = walk.done ? [] : walk.attempt(() => repository.refs.names(), []);
  for (const name of ["HEAD", ...names]) {
    if (walk.done) break;
    walk.from(name, `on ${name}, not on ${branch}`);
  }
  const log = walk.attempt(() => repository.refs.history(branch), new Set());
  // The branch was at the last of them, so it held those before it, too.
  const was = wanted.some((id) => log.has(id)) ? `was on ${branch}` : `not on ${branch}`;
  const unknown = walk.whole ? `${was}, now on no branch` : `${was}, its history is not whole here`;
  return new Map(wanted.map((id) => [id, walk.places.get(id) ?? unknown]));
}

/** Follows parents from one name after the other, each commit once. */
class HistoryWalk {
  readonly places = new Map<string, string>();
  /** False once a commit could not be read, or there were too many. */
  whole = true;
  #parentsLeft = PARENTS_MAX;
  readonly #repository: GitRepository;
  readonly #wanted: ReadonlySet<string>;
  readonly #seen = new Set<string>();

  constructor(repository: GitRepository, wanted: readonly string[]) {
    this.#repository = repository;
    this.#wanted = new Set(wanted);
  }

  get done(): boolean {
    return this.places.size === this.#wanted.size || this.#isSpent;
  }

  get #isSpent(): boolean {
    return this.#seen.size >= COMMITS_MAX || this.#parentsLeft < 0;
  }

  from(name: string, place: string): void {
    const tip = this.attempt(() => this.#commitOf(name), null);
    // Breadth first: what a run brought back is near the tip more often than not.
    const queue: string[] = [];
    if (tip !== null) this.#enter(tip, queue);
    for (let at = 0; at < queue.length && !this.done; at++) {
      const id = queue[at] ?? "";
      if (this.#wanted.has(id)) this.places.set(id, place);
      for (const parent of this.#parentsOf(id)) {
        if (this.#isSpent) break;
        this.#parentsLeft -= 1;
        this.#enter(parent, queue);
      }
    }
    if (this.#isSpent) this.whole = false;
  }

  /** Each commit once, from whichever name it is reached first. */
  #enter(id: string, queue: string[]): void {
    if (this.#seen.has(id)) return;
    this.#seen.add(id);
    queue.push(id);
  }

  #parentsOf(id: string): readonly string[] {
    return this.attempt(() => {
      const { objects, shallow } = this.#repository;
      return shallow.has(id) ? [] : parseGitCommit(objects.read(id, "commit")).parents;
    }, []);
  }

  /** Tags stand for commits, or for tags that do. */
  #commitOf(name: string): string | null {
    const { objects, refs } = this.#repository;
    let at = refs.resolve(name);
    for (let depth = 0; at !== null && depth < TAG_DEPTH_MAX; depth++) {
      const found = objects.find(at);
      if (found?.type === "commit") return at;
      at = found?.type === "tag" ? taggedObject(found.bytes) : null;
    }
    return null;
  }

  /** Whatever fails: the chain of custody was held against the repository before. */
  attempt<T>(work: () => T, otherwise: T): T {
    try {
      return work();
    } catch {
      this.whole = false;
      return otherwise;
    }
  }
}
