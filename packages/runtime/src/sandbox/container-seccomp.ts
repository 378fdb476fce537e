import type { JsonObject } from "@sovereign/core";
import {
  AF_NETLINK,
  CLONE_FILES,
  CLONE_THREAD,
  EAFNOSUPPORT,
  EINVAL,
  EMFILE,
  ENOSYS,
  EPERM,
  NEW_NAMESPACES,
  PR_SET_PDEATHSIG,
  REFUSED_FCNTLS,
  REFUSED_IOCTLS,
  SOCKET_FAMILIES,
  seccompMachine,
} from "./seccomp.ts";
import { ALLOWED, type CallNumbers, NONE_LEFT, PRCTL_OPTIONS, REFUSED } from "./system-calls.ts";

const LOW_HALF = 0xffffffff;
const BITS = 32;
const SHARING_THREAD = CLONE_FILES | CLONE_THREAD;
const ARCHITECTURES = { x64: "SCMP_ARCH_X86_64", arm64: "SCMP_ARCH_AARCH64" } as const;

/**
 * The same system call filter as an OCI runtime reads it. Calls of another architecture, the x32
 * ones too, kill: what is not named under `architectures` is refused by libseccomp itself. A call
 * whose name this libseccomp does not know yet cannot be allowed, and does not exist.
 *
 * INVARIANT: no two rules of one call with different actions hold of the same arguments, because
 * libseccomp does not say which of them counts.
 *
 * @throws ERR_SANDBOX_UNAVAILABLE on a machine of another architecture
 * @see https://github.com/opencontainers/runtime-spec, config-linux.md, Seccomp
 */
export function containerSeccomp(architecture: string = process.arch): JsonObject {
  const { name, machine } = seccompMachine(architecture);
  const names = (calls: Readonly<Record<string, CallNumbers>>): string[] =>
    Object.entries(calls)
      .filter(([, numbers]) => numbers[machine.column] !== null)
      .map(([call]) => call);
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: ENOSYS,
    architectures: [ARCHITECTURES[name]],
    syscalls: [
      allow(names(ALLOWED)),
      refuse(names(REFUSED), EPERM),
      refuse(names(NONE_LEFT), EMFILE),
      allow(["clone"], [masked(0, NEW_NAMESPACES | CLONE_FILES, 0)]),
      allow(["clone"], [masked(0, NEW_NAMESPACES | SHARING_THREAD, SHARING_THREAD)]),
      refuse(["clone"], EPERM, [masked(0, NEW_NAMESPACES | SHARING_THREAD, CLONE_FILES)]),
      // One rule for each bit: libseccomp cannot ask for "any of these".
      ...bitsOf(NEW_NAMESPACES).map((bit) => refuse(["clone"], EPERM, [masked(0, bit, bit)])),
      ...allBut(REFUSED_FCNTLS, 1).map((other) => allow(["fcntl"], [other])),
      ...REFUSED_FCNTLS.map((one) => refuse(["fcntl"], EINVAL, [masked(1, LOW_HALF, one)])),
      ...allBut(REFUSED_IOCTLS, 1).map((other) => allow(["ioctl"], [other])),
      ...REFUSED_IOCTLS.map((request) => refuse(["ioctl"], EPERM, [masked(1, LOW_HALF, request)])),
      // Error 0: it succeeds and does nothing.
      refuse(["prctl"], 0, [masked(0, LOW_HALF, PR_SET_PDEATHSIG)]),
      ...PRCTL_OPTIONS.map((option) => allow(["prctl"], [masked(0, LOW_HALF, option)])),
      ...socketRules(),
    ],
  };
}

function socketRules(): JsonObject[] {
  const refused = (...args: JsonObject[]): JsonObject => refuse(["socket"], EAFNOSUPPORT, args);
  const netlink = masked(0, LOW_HALF, AF_NETLINK);
  return [
    ...SOCKET_FAMILIES.map((family) => allow(["socket"], [masked(0, LOW_HALF, family)])),
    allow(["socket"], [netlink, { index: 2, value: 0, op: "SCMP_CMP_EQ" }]),
    refused(netlink, { index: 2, value: 0, op: "SCMP_CMP_NE" }),
    ...allBut([...SOCKET_FAMILIES, AF_NETLINK], 0).map((other) => refused(other)),
  ];
}

/**
 * What holds of every value of an argument's low half but those, because the kernel looks at that
 * half alone: one condition for each way in which the highest bits differ from all of them.
 */
function allBut(values: readonly number[], index: number): JsonObject[] {
  const conditions: JsonObject[] = [];
  const split = (prefix: number, bits: number): void => {
    const size = 2 ** (BITS - bits);
    if (!values.some((value) => value >= prefix && value < prefix + size)) {
      conditions.push(masked(index, LOW_HALF - (size - 1), prefix));
    } else if (bits < BITS) {
      split(prefix, bits + 1);
      split(prefix + size / 2, bits + 1);
    }
  };
  split(0, 0);
  return conditions;
}

function allow(names: string[], args: JsonObject[] = []): JsonObject {
  return { names, action: "SCMP_ACT_ALLOW", ...(args.length > 0 ? { args } : {}) };
}

function refuse(names: string[], errnoRet: number, args: JsonObject[] = []): JsonObject {
  return { names, action: "SCMP_ACT_ERRNO", errnoRet, ...(args.length > 0 ? { args } : {}) };
}

/** `argument & mask == wanted`. */
function masked(index: number, mask: number, wanted: number): JsonObject {
  return { index, value: mask, valueTwo: wanted, op: "SCMP_CMP_MASKED_EQ" };
}

function bitsOf(flags: number): number[] {
  return Array.from({ length: 32 }, (_, bit) => 2 ** bit).filter((bit) => (flags & bit) !== 0);
}
