import { describe, expect, it } from "vitest";
import { seccompFilter } from "../../src/sandbox/index.ts";

interface Call {
  readonly number: number;
  readonly args?: readonly number[];
  readonly audit?: number;
}

const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;

/** What the kernel would answer: an interpreter of the few instructions that we use. */
function judge(filter: Uint8Array, { number, args = [], audit = 0xc000003e }: Call): number {
  const code = new DataView(filter.buffer, filter.byteOffset, filter.byteLength);
  const data = (offset: number): number => {
    if (offset === 0) return number;
    if (offset === 4) return audit;
    return args[(offset - 16) / 8] ?? 0;
  };
  let accumulator = 0;
  for (let at = 0; at * 8 < filter.length; at++) {
    const operation = code.getUint16(at * 8, true);
    const value = code.getUint32(at * 8 + 4, true);
    const jump = (holds: boolean): void => {
      at += code.getUint8(at * 8 + (holds ? 2 : 3));
    };
    if (operation === 0x20) accumulator = data(value);
    else if (operation === 0x15) jump(accumulator === value);
    else if (operation === 0x35) jump(accumulator >= value);
    else if (operation === 0x45) jump((accumulator & value) !== 0);
    else if (operation === 0x54) accumulator &= value;
    else if (operation === 0x06) return value;
    else throw new Error(`operation ${operation}`);
  }
  throw new Error("the filter has no end");
}

const x64 = seccompFilter("x64");

describe("the system call filter", () => {
  it.each<[string, Call, number]>([
    ["reads", { number: 0 }, ALLOW],
    ["threads", { number: 56, args: [0x003d0f00] }, ALLOW],
    ["a new user namespace by clone", { number: 56, args: [0x10000000] }, EPERM],
    ["clone3", { number: 435 }, ENOSYS],
    ["unshare", { number: 272 }, EPERM],
    ["ptrace", { number: 101 }, EPERM],
    ["io_uring", { number: 425 }, EPERM],
    ["typing into a terminal", { number: 16, args: [0, 0x5412] }, EPERM],
    ["another ioctl", { number: 16, args: [0, 0x5401] }, ALLOW],
    ["taking the death signal away", { number: 157, args: [1, 0] }, 0x00050000],
    ["a child that shares descriptors", { number: 56, args: [0x400 | 17] }, EPERM],
    ["a child that shares nothing", { number: 56, args: [0x01200011] }, ALLOW],
    ["a lock of a process", { number: 72, args: [3, 6] }, ALLOW],
    ["a lock of an open file", { number: 72, args: [3, 37] }, 0x00050016],
    ["a watcher of files", { number: 294, args: [0] }, 0x00050018],
    ["naming a thread", { number: 157, args: [15] }, ALLOW],
    ["a TCP socket", { number: 41, args: [2, 1, 0] }, ALLOW],
    ["a route socket", { number: 41, args: [16, 3, 0] }, ALLOW],
    ["another netlink socket", { number: 41, args: [16, 3, 9] }, 0x00050061],
    ["a vsock", { number: 41, args: [40, 1, 0] }, 0x00050061],
    ["the x32 door", { number: 0x40000000 | 101 }, ENOSYS],
    ["the newest call that is allowed", { number: 466 }, ALLOW],
    ["one that tells of mounts, statmount", { number: 457 }, ENOSYS],
    ["a newer one, open_tree_attr", { number: 467 }, ENOSYS],
    ["one that no kernel has yet", { number: 9999 }, ENOSYS],
    ["a queue of System V", { number: 68 }, ENOSYS],
    ["semaphores of System V", { number: 64 }, ENOSYS],
    ["a queue of POSIX", { number: 240 }, ENOSYS],
    ["asynchronous I/O", { number: 206 }, ENOSYS],
    ["memory that is kept from the kernel", { number: 447 }, ENOSYS],
    ["an option of prctl that nobody needs", { number: 157, args: [67, 1] }, ENOSYS],
    ["another machine's calls", { number: 0, audit: 0x40000003 }, 0x80000000],
  ])("judges %s", (_, call, verdict) => {
    expect(judge(x64, call)).toBe(verdict);
  });

  it("is another one on arm64, and there is none elsewhere", () => {
    const arm = seccompFilter("arm64");
    const audit = 0xc00000b7;
    expect(judge(arm, { number: 117, audit })).toBe(EPERM);
    expect(judge(arm, { number: 220, args: [0x10000000], audit })).toBe(EPERM);
    expect(judge(arm, { number: 63, audit })).toBe(ALLOW);
    expect(judge(arm, { number: 186, audit })).toBe(ENOSYS);
    expect(() => seccompFilter("riscv64")).toThrow(
      expect.objectContaining({ code: "ERR_SANDBOX_UNAVAILABLE" }),
    );
  });
});
