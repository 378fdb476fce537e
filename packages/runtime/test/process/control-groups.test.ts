import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ControlGroups } from "../../src/process/index.ts";
import { FakeGroups } from "../support/fake-groups.ts";

describe("the weight of all paths together", () => {
  let group = "";
  beforeEach(() => {
    group = mkdtempSync(join(tmpdir(), "group-"));
  });
  afterEach(() => {
    rmSync(group, { recursive: true, force: true });
  });

  it.each([
    ["cpu.shares", "1024", "256", "20480", "65536"],
    ["cpu.weight", "100", "25", "2000", "6400"],
  ])("by %s is less than a process's while they live, and more while they die", (...row) => {
    const [name, ordinary, living, dying, ahead] = row;
    const file = join(group, name);
    writeFileSync(file, ordinary);
    // v1 has a hierarchy of its own for it, v2 the paths' own.
    const groups =
      name === "cpu.shares" ? new ControlGroups([], group) : new ControlGroups([group]);
    groups.prefer(false);
    expect(readFileSync(file, "utf8")).toBe(living);
    groups.prefer(true, false);
    expect(readFileSync(file, "utf8")).toBe(dying);
    // Who sees them die comes before them: so they may come before all others.
    groups.prefer(true, true);
    expect(readFileSync(file, "utf8")).toBe(ahead);
  });

  it("is more until they are set up, and is raised there too when they must die", () => {
    const starting = mkdtempSync(join(tmpdir(), "group-"));
    try {
      for (const folder of [group, starting]) writeFileSync(join(folder, "cpu.shares"), "1024");
      const shares = (): string[] =>
        [group, starting].map((folder) => readFileSync(join(folder, "cpu.shares"), "utf8"));
      const groups = new ControlGroups([], group, starting);
      groups.prefer(false);
      expect(shares()).toEqual(["256", "4096"]);
      groups.prefer(true, true);
      expect(shares()).toEqual(["65536", "65536"]);
    } finally {
      rmSync(starting, { recursive: true });
    }
  });

  it("stays as it is where the kernel offers neither, or refuses", () => {
    new ControlGroups([group]).prefer(true);
    new ControlGroups([join(group, "gone")], join(group, "gone")).prefer(true);
  });
});

describe("the second version alone", () => {
  const ALL = ["cpu", "memory", "pids"];
  const SCOPE = "/user.slice/user-0.slice/session-1.scope";
  const SLICE = dirname(SCOPE);
  const LIMITS = { processes: 7, memoryBytes: 4096, socketBytes: 1 };
  let root = "";
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "groups-"));
  });
  afterEach(() => {
    rmSync(root, { recursive: true, force: true });
  });
  const text = (group: ControlGroups, name: string): string =>
    readFileSync(join(group.folders[0] ?? "", name), "utf8").trim();

  it("bounds paths though we are in a group that may hand nothing on", () => {
    const kernel = new FakeGroups(root, SCOPE, "/", ALL);
    const group = ControlGroups.root("x", kernel);
    expect(group.folders).toEqual([join(root, SLICE, "sovereign-x")]);
    expect(existsSync(join(root, SCOPE, "sovereign-x"))).toBe(false);
    const path = group.child("one").limit(LIMITS);
    expect(path.limitsMemory && path.limitsProcesses).toBe(true);
    const files = ["memory.max", "memory.swap.max", "pids.max"];
    expect(files.map((name) => text(path, name))).toEqual(["4096", "0", "7"]);
    expect(path.kernelBytes()).toBe(9216);
    expect(path.userBytes(true)).toBe(4096);
  });

  it("is found at the same place by a process that is in one of our groups", () => {
    const group = ControlGroups.root("x", new FakeGroups(root, SCOPE, "/", ALL));
    const engine = `${SLICE}/sovereign-x/engine`;
    group.child("engine");
    const inside = {
      mounts: () => `cgroup2 ${root} cgroup2 rw 0 0\n`,
      own: () => `0::${engine}\n`,
      make: (folder: string) => {
        mkdirSync(folder);
      },
      enable: () => undefined,
      remove: () => undefined,
    };
    expect(ControlGroups.root("x", inside).folders).toEqual(group.folders);
  });

  it.each([
    ["a scope that was delegated alone", SCOPE, SCOPE, ALL],
    ["a container that hands nothing on", "/", "/", []],
    ["a hierarchy beside one of the first version", "/", "/", ["hugetlb"]],
  ])("kills as a whole, and bounds nothing, in %s", (_, own, owned, controllers) => {
    const group = ControlGroups.root("x", new FakeGroups(root, own, owned, controllers));
    expect(group.folders).toEqual([join(root, own, "sovereign-x")]);
    const path = group.child("one").limit(LIMITS);
    expect([path.killable, path.limitsMemory, path.limitsProcesses]).toEqual([true, false, false]);
    expect([path.kernelBytes(), path.userBytes(true), path.countProcesses()]).toEqual([
      null,
      null,
      null,
    ]);
  });

  it("is without groups where nothing may be made, as in a session of an ordinary user", () => {
    const group = ControlGroups.root("x", new FakeGroups(root, SCOPE, "/elsewhere", ALL));
    expect(group.folders).toEqual([]);
    expect([group.killable, group.timeFile, group.weighs]).toEqual([false, null, false]);
  });

  it("hands a controller on only from a group without processes", () => {
    const kernel = new FakeGroups(root, SCOPE, "/", ALL);
    const [folder = ""] = ControlGroups.root("x", kernel).folders;
    writeFileSync(join(folder, "cgroup.subtree_control"), "");
    writeFileSync(join(folder, "cgroup.procs"), "1\n");
    const found = ControlGroups.root("x", kernel);
    // Where ours cannot, it stays where it can be killed.
    expect(found.killable).toBe(true);
    expect(found.child("two").limitsMemory).toBe(false);
  });

  it("is killed, frozen and looked at by the files of the kernel", () => {
    const group = ControlGroups.root("x", new FakeGroups(root, SCOPE, "/", ALL));
    const path = group.child("one");
    const put = (name: string, content: string): void => {
      writeFileSync(join(path.folders[0] ?? "", name), content);
    };
    expect(path.populated()).toBe(false);
    put("cgroup.events", "populated 1\nfrozen 0\n");
    put("cgroup.procs", "11\n12\n");
    expect(path.populated()).toBe(true);
    expect(group.members().sort()).toEqual([11, 12]);
    path.freeze(true);
    expect(text(path, "cgroup.freeze")).toBe("1");
    path.freeze(false);
    expect(text(path, "cgroup.freeze")).toBe("0");
    group.kill();
    expect(text(group, "cgroup.kill")).toBe("1");
    expect(group.timeFile).toBe(join(group.folders[0] ?? "", "cpu.stat"));
    put("memory.events", "oom 1\noom_kill 2\n");
    put("pids.events", "max 3\n");
    expect([path.outOfMemory(), path.refusedProcesses()]).toEqual([true, true]);
    group.prefer(false);
    expect(text(group, "cpu.weight")).toBe("25");
  });
});
