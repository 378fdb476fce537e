import { describe, expect, it } from "vitest";
import { kernelBytesOf } from "../../src/process/index.ts";
import { pathLimits, pathWeight } from "../../src/sandbox/holdings.ts";
import type { SandboxLimits } from "../../src/sandbox/index.ts";
import type { OwnedGroups } from "../../src/sandbox/types.ts";
import { HoldingsWatch } from "../../src/sandbox/holdings-watch.ts";

const MEBIBYTE = 1024 * 1024;

let pids = 0;

/** A path whose groups say what is given: what it owns, what is only remembered, and user memory. */
class OwningPath {
  readonly kernelBytes: number;
  kernel: number;
  cached: number;
  user: number;
  ended: string | null = null;
  frozen = false;
  flushes = 0;
  /** What was going on while it was asked to forget. */
  frozenWhileJudged = true;

  constructor(owned: {
    kernel?: number;
    cached?: number;
    user?: number;
    most?: number;
    locks?: number;
  }) {
    this.kernel = (owned.kernel ?? 0) * MEBIBYTE;
    this.cached = (owned.cached ?? 0) * MEBIBYTE;
    this.user = (owned.user ?? 0) * MEBIBYTE;
    this.pid = ++pids;
    this.locks = owned.locks ?? 0;
    this.kernelBytes = (owned.most ?? 64) * MEBIBYTE;
  }

  readonly pid: number;
  locks = 0;

  readonly groups: OwnedGroups = {
    members: () => [this.pid],
    kernelBytes: () => this.kernel + this.cached,
    userBytes: () => this.user,
    forgetCaches: () => {
      this.frozenWhileJudged &&= this.frozen;
      this.cached = 0;
      return Promise.resolve();
    },
    freeze: (frozen) => {
      this.frozen = frozen;
    },
  };

  flush(): Promise<void> {
    this.flushes += 1;
    return Promise.resolve();
  }

  end(why: string): void {
    this.ended = why;
  }
}

const LIMITS: SandboxLimits = {
  wallMs: 1000,
  cpuSeconds: 1,
  memoryBytes: 2048 * MEBIBYTE,
  processes: 256,
  outputBytes: 1000,
  fileBytes: 1000,
};
const COSTS = {
  budgetMs: 400,
  pathMs: 1,
  kernelMsPerMebibyte: 2.5,
  memoryMsPerMebibyte: 0.07,
  msPerFileLock: 0.0007,
};

async function look(...paths: OwningPath[]): Promise<OwningPath[]> {
  const locks = new Map(paths.map(({ pid, locks }) => [pid, locks]));
  const watch = new HoldingsWatch(COSTS, () => Promise.resolve(locks));
  const done = paths.map((path) => watch.add(path));
  await watch.look();
  for (const remove of done) remove();
  return paths.filter(({ ended }) => ended !== null);
}

describe("the watch over what paths own", () => {
  it("ends one that owns more of the kernel's memory than it may", async () => {
    const path = new OwningPath({ kernel: 65 });
    expect(await look(path)).toEqual([path]);
    expect(path.ended).toBe("it owned 65 MiB of kernel memory, at most 64 MiB");
    expect([path.frozenWhileJudged, path.frozen, path.flushes]).toEqual([true, false, 1]);
  });

  it("lets one be whose files the kernel only remembers", async () => {
    const path = new OwningPath({ kernel: 3, cached: 90 });
    expect(await look(path)).toEqual([]);
    expect([path.cached, path.frozen]).toEqual([0, false]);
  });

  it("ends one that holds more file locks than it may", async () => {
    const paths = [8192, 8193, 100].map((locks) => new OwningPath({ locks }));
    expect(await look(...paths)).toEqual([paths[1]]);
    expect(paths[1]?.ended).toBe("it held 8193 file locks, at most 8192");
  });

  it("counts file locks among what takes time to free", async () => {
    const paths = Array.from({ length: 80 }, (_, at) => new OwningPath({ locks: 8000 + at }));
    const ended = await look(...paths);
    expect(ended.length).toBeGreaterThan(0);
    expect(ended).toContain(paths.at(-1));
  });

  it("ends the largest, until what is left can be freed in time", async () => {
    const large = [60, 59, 58].map((kernel) => new OwningPath({ kernel }));
    const small = [1, 2, 3].map((kernel) => new OwningPath({ kernel }));
    expect(await look(...small, ...large)).toEqual([large[0]]);
    expect(large[0]?.ended).toContain("what it owned would take 149 ms to free");
  });

  it("counts memory of processes among it", async () => {
    const paths = [2000, 2040, 2020, 100].map((user) => new OwningPath({ user }));
    expect(await look(...paths)).toEqual([paths[1]]);
  });

  it("lets a hundred paths be that own what every path does", async () => {
    const paths = Array.from({ length: 100 }, () => new OwningPath({ kernel: 1, user: 8 }));
    expect(await look(...paths)).toEqual([]);
  });

  it("counts one that may own more than the usual as more than one path", () => {
    const of = (more: Partial<SandboxLimits>): number =>
      pathWeight(pathLimits({ ...LIMITS, ...more }));
    expect(of({})).toBe(1);
    expect(of({ kernelBytes: MEBIBYTE, memoryBytes: MEBIBYTE })).toBe(1);
    expect(of({ memoryBytes: 16_384 * MEBIBYTE })).toBeCloseTo(3.88, 2);
    expect(of({ kernelBytes: 72 * MEBIBYTE })).toBeCloseTo(1.07, 2);
  });

  it("reads what the second version of control groups says", () => {
    const stat = `anon 1000
file 5000
kernel 900
kernel_stack 10
pagetables 20
sec_pagetables 1
percpu 2
sock 3
vmalloc 4
shmem 77
slab_reclaimable 600
slab_unreclaimable 100
slab 700
`;
    expect(kernelBytesOf(stat)).toBe(140);
    expect(kernelBytesOf("cache 0\ntotal_rss 5\n")).toBe(null);
  });
});
