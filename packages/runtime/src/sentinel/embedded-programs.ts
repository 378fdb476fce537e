import type { KillReceipt, ScramScope } from "@sovereign/core";
import { setTimeout as sleep } from "node:timers/promises";
import { isAlive, killProcess, stateOf } from "../process/index.ts";
import { scopeCovers } from "../scram/index.ts";
import type { EmbeddedOutcome } from "./activation.ts";
import type { Link } from "./control-connections.ts";
import type { EmbeddedPath } from "./path-registry.ts";

/** What is kept of the deadline to kill a program whose handler did not end, and to see it dead. */
const RESERVE_MS = 150;
const HOOK_MS = 1000;
const POLL_MS = 2;

interface Waiting {
  readonly resolve: (ok: boolean) => void;
}

/**
 * The execution paths and hooks inside programs that embed the library. A handler's return is
 * believed only as far as the program lives on at its own risk: one that does not answer in time is
 * killed with its whole program.
 */
export class EmbeddedPaths {
  readonly #paths = new Map<string, EmbeddedPath & { readonly link: Link }>();
  readonly #waiting = new Map<string, Waiting>();

  get size(): number {
    return this.#paths.size;
  }

  /** Of the connections of the programs. */
  get linkIds(): ReadonlySet<string> {
    return new Set([...this.#paths.values()].map(({ link_id }) => link_id));
  }

  add(path: EmbeddedPath, link: Link): void {
    this.#paths.set(`${link.id}/${path.path_id}`, { ...path, link });
  }

  remove(linkId: string, pathId: string | null): void {
    for (const [key, path] of [...this.#paths]) {
      if (path.link_id !== linkId || (pathId !== null && path.path_id !== pathId)) continue;
      this.#paths.delete(key);
      this.#waiting.get(key)?.resolve(false);
    }
  }

  /** A program's word that a handler or hook has ended. */
  terminated(linkId: string, pathId: string, ok: boolean): void {
    this.#waiting.get(`${linkId}/${pathId}`)?.resolve(ok);
  }

  /** All handlers at once; what has not ended near the deadline is killed, and seen dead. */
  async end(
    scope: ScramScope,
    deadlineMs: number,
    monotonicMs: () => number,
  ): Promise<EmbeddedOutcome> {
    const covered = this.#covered(scope, true);
    const patience = Math.max(0, deadlineMs - RESERVE_MS - monotonicMs());
    const ended = await Promise.all(
      covered.map(async (path) => ({ path, outcome: await this.#ask(path, patience) })),
    );
    const stubborn = ended.filter(({ outcome }) => outcome !== "ok").map(({ path }) => path);
    const stragglers = await killPrograms(stubborn, deadlineMs, monotonicMs);
    return { paths: covered, stragglers };
  }

  /** The hooks, after the kill. One that fails or hangs never stops the others. */
  runHooks(scope: ScramScope): Promise<KillReceipt["hooks"]> {
    return Promise.all(
      this.#covered(scope, false).map(async (path) => ({
        id: path.path_id,
        outcome: await this.#ask(path, HOOK_MS),
      })),
    );
  }

  #covered(scope: ScramScope, handler: boolean): (EmbeddedPath & { readonly link: Link })[] {
    return [...this.#paths.values()].filter(
      (path) => path.handler === handler && scopeCovers(scope, path),
    );
  }

  async #ask(
    path: EmbeddedPath & { readonly link: Link },
    patienceMs: number,
  ): Promise<"ok" | "failed" | "timeout"> {
    const key = `${path.link.id}/${path.path_id}`;
    const answer = new Promise<"ok" | "failed">((resolve) => {
      this.#waiting.set(key, {
        resolve: (ok) => {
          resolve(ok ? "ok" : "failed");
        },
      });
    });
    path.link.push({
      t: "terminate",
      path_id: path.path_id,
      deadline_ms: Math.floor(patienceMs),
    });
    const timer = new AbortController();
    const late = sleep(patienceMs, "timeout" as const, { signal: timer.signal }).catch(
      () => "timeout" as const,
    );
    const outcome = await Promise.race([answer, late]);
    timer.abort();
    this.#waiting.delete(key);
    return outcome;
  }
}

async function killPrograms(
  paths: readonly { readonly link: Link }[],
  deadlineMs: number,
  monotonicMs: () => number,
): Promise<{ pid: number; state: string }[]> {
  const programs = paths.flatMap(({ link }) => (link.process === null ? [] : [link.process]));
  for (;;) {
    const alive = programs.filter(isAlive);
    if (alive.length === 0) return [];
    for (const program of alive) killProcess(program);
    if (monotonicMs() >= deadlineMs) {
      return alive.map(({ pid }) => ({ pid, state: stateOf(pid) ?? "" }));
    }
    await sleep(POLL_MS);
  }
}
