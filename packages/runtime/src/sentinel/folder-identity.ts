import { lstatSync } from "node:fs";
import { every } from "../system/index.ts";

const LOOK_MS = 50;

/**
 * The folder that a sentinel was started for, and is in. While it is there, no other has its inode: so
 * one that was deleted is told from one that was made anew under the same name, which is another
 * installation's and none of ours to write to.
 */
export class OwnFolder {
  readonly #path: string;
  readonly #inode: string;
  #gone = false;

  /** @param path of the working folder of this process */
  constructor(path: string) {
    this.#path = path;
    this.#inode = inodeOf(".") ?? "";
  }

  /** Whether it is gone, for good. What cannot be looked at is not. */
  get gone(): boolean {
    try {
      this.#gone ||= inodeOf(this.#path) !== this.#inode;
    } catch {
      // Some other trouble, which whoever writes there meets.
    }
    return this.#gone;
  }

  /** Call back, once, when it is gone. @returns a function that stops watching */
  watch(onGone: () => void): () => void {
    const end = every(LOOK_MS, () => {
      if (!this.gone) return;
      end();
      onGone();
    });
    return end;
  }
}

function inodeOf(path: string): string | null {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? null : `${found.dev}:${found.ino}`;
}
