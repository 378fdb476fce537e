import type { JsonObject } from "@sovereign/core";
import {
  AF_NETLINK,
  EAFNOSUPPORT,
  ENOSYS,
  EPERM,
  NEW_NAMESPACES,
  PR_SET_PDEATHSIG,
  REFUSED,
  SOCKET_FAMILIES,
  seccompMachine,
  TIOCLINUX,
  TIOCSTI,
} from "./seccomp.ts";

const LOW_HALF = 0xffffffff;
const ARCHITECTURES = { x64: "SCMP_ARCH_X86_64", arm64: "SCMP_ARCH_AARCH64" } as const;

/**
 * The same system call filter as an OCI runtime reads it. Calls of another architecture, the x32
 * ones too, kill: what is not named under `architectures` is refused by libseccomp itself.
 *
 * @throws ERR_SANDBOX_UNAVAILABLE on a machine of another architecture
 * @see https://github.com/opencontainers/runtime-spec, config-linux.md, Seccomp
 */
export function containerSeccomp(architecture: string = process.arch): JsonObject {
  const { name, machine } = seccompMachine(architecture);
  const refused = Object.entries(REFUSED).filter(([, numbers]) => numbers[machine.column] !== null);
  return {
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: [ARCHITECTURES[name]],
    syscalls: [
      refuse(
        refused.map(([call]) => call),
        EPERM,
      ),
      refuse(["clone3"], ENOSYS),
      // One rule for each bit: libseccomp cannot ask for "any of these".
      ...bitsOf(NEW_NAMESPACES).map((bit) => refuse(["clone"], EPERM, [masked(0, bit, bit)])),
      ...[TIOCSTI, TIOCLINUX].map((request) =>
        refuse(["ioctl"], EPERM, [masked(1, LOW_HALF, request)]),
      ),
      // Error 0: it succeeds and does nothing.
      refuse(["prctl"], 0, [masked(0, LOW_HALF, PR_SET_PDEATHSIG)]),
      ...socketRules(),
    ],
  };
}

function socketRules(): JsonObject[] {
  const families = Array.from({ length: AF_NETLINK }, (_, family) => family);
  const unknown = families.filter((family) => !SOCKET_FAMILIES.includes(family));
  const refused = (...args: JsonObject[]): JsonObject => refuse(["socket"], EAFNOSUPPORT, args);
  return [
    ...unknown.map((family) => refused(masked(0, LOW_HALF, family))),
    // Of the whole argument: a family with anything in the upper half is refused as well.
    refused({ index: 0, value: AF_NETLINK, op: "SCMP_CMP_GT" }),
    refused(masked(0, LOW_HALF, AF_NETLINK), { index: 2, value: 0, op: "SCMP_CMP_NE" }),
  ];
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
