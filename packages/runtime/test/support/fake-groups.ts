import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { GroupKernel } from "../../src/process/group-places.ts";

/** What a controller brings into each group that has it (kernel: Documentation/admin-guide/cgroup-v2). */
const FILES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  core: {
    "cgroup.procs": "",
    "cgroup.kill": "",
    "cgroup.freeze": "0\n",
    "cgroup.events": "populated 0\nfrozen 0\n",
    "cgroup.subtree_control": "",
    "cpu.stat": "usage_usec 0\nuser_usec 0\nsystem_usec 0\n",
  },
  memory: {
    "memory.max": "max\n",
    "memory.swap.max": "max\n",
    "memory.current": "0\n",
    "memory.stat": "anon 4096\nshmem 0\nkernel_stack 8192\nslab_unreclaimable 1024\n",
    "memory.events": "low 0\noom 0\noom_kill 0\n",
  },
  pids: { "pids.max": "max\n", "pids.current": "0\n", "pids.events": "max 0\n" },
  cpu: { "cpu.weight": "100\n" },
};

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/**
 * The hierarchy of cgroup v2 as files in a folder, with the kernel's rules of who may make a group,
 * which controllers it has, and that a group with processes hands none on.
 */
export class FakeGroups implements GroupKernel {
  readonly #root: string;
  readonly #own: string;
  readonly #owned: string;

  /**
   * @param own the group that we are in, from the root on; `0::` of /proc/self/cgroup
   * @param owned from where on everything is ours; outside of it nothing may be made
   * @param controllers what each group above our own hands on
   */
  constructor(root: string, own: string, owned: string, controllers: readonly string[]) {
    this.#root = root;
    this.#own = own;
    this.#owned = join(root, owned).replace(/\/$/, "");
    const names = own.split("/").filter(Boolean);
    this.#fill(root, controllers);
    names.forEach((_, depth) => {
      const folder = join(root, ...names.slice(0, depth));
      writeFileSync(join(folder, "cgroup.subtree_control"), controllers.join(" "));
      this.#make(join(root, ...names.slice(0, depth + 1)));
    });
    appendFileSync(join(root, own, "cgroup.procs"), `${process.pid}\n`);
  }

  mounts(): string {
    return `proc /proc proc rw 0 0\ncgroup2 ${this.#root} cgroup2 rw,nosuid,nsdelegate 0 0\n`;
  }

  own(): string {
    return `0::${this.#own}\n`;
  }

  make(folder: string): void {
    if (existsSync(folder)) throw systemError("EEXIST");
    if (!this.#isOurs(dirname(folder))) throw systemError("EACCES");
    this.#make(folder);
  }

  enable(folder: string, controller: string): void {
    if (!this.#isOurs(folder)) throw systemError("EACCES");
    if (!wordsIn(folder, "cgroup.controllers").includes(controller)) throw systemError("ENOENT");
    if (folder !== this.#root && wordsIn(folder, "cgroup.procs").length > 0)
      throw systemError("EBUSY");
    appendFileSync(join(folder, "cgroup.subtree_control"), ` ${controller}`);
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) this.#fill(join(folder, basename(entry.name)), [controller]);
    }
  }

  remove(folder: string): void {
    const entries = readdirSync(folder, { withFileTypes: true });
    if (entries.some((entry) => entry.isDirectory())) throw systemError("EBUSY");
    if (wordsIn(folder, "cgroup.procs").length > 0) throw systemError("EBUSY");
    rmSync(folder, { recursive: true });
  }

  #isOurs(folder: string): boolean {
    return folder === this.#owned || folder.startsWith(`${this.#owned}/`);
  }

  #make(folder: string): void {
    mkdirSync(folder);
    this.#fill(folder, wordsIn(dirname(folder), "cgroup.subtree_control"));
  }

  #fill(folder: string, controllers: readonly string[]): void {
    for (const one of ["core", ...controllers]) {
      for (const [name, text] of Object.entries(FILES[one] ?? {})) {
        if (!existsSync(join(folder, name))) writeFileSync(join(folder, name), text);
      }
    }
    appendFileSync(join(folder, "cgroup.controllers"), ` ${controllers.join(" ")}`);
  }
}

function wordsIn(folder: string, name: string): string[] {
  const path = join(folder, name);
  return existsSync(path) ? readFileSync(path, "utf8").split(/\s+/).filter(Boolean) : [];
}
