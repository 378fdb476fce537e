import type { ScramScope } from "@sovereign/core";
import { scopeCovers, type WorkOwner, type LivePath } from "../scram/index.ts";

/** The list of live paths. What is not on it has no open gate. */
export class PathRegistry {
  readonly #paths = new Map<string, LivePath>();

  get size(): number {
    return this.#paths.size;
  }

  get ids(): ReadonlySet<string> {
    return new Set(this.#paths.keys());
  }

  has(pathId: string): boolean {
    return this.#paths.has(pathId);
  }

  add(path: LivePath): void {
    this.#paths.set(path.path_id, path);
  }

  /** Take paths off that are verified dead. */
  remove(pathIds: readonly string[]): void {
    for (const id of pathIds) this.#paths.delete(id);
  }

  covered(scope: ScramScope): LivePath[] {
    return this.filter((path) => scopeCovers(scope, path));
  }

  filter(wanted: (path: LivePath) => boolean): LivePath[] {
    return [...this.#paths.values()].filter(wanted);
  }
}

/** A handler or hook of a program that embeds the library. */
export interface EmbeddedPath extends WorkOwner {
  readonly path_id: string;
  readonly link_id: string;
  readonly handler: boolean;
}
