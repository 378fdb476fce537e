import { SovereignError } from "@sovereign/core";
import { ALLOWED, type CallNumbers, NONE_LEFT, PRCTL_OPTIONS, REFUSED } from "./system-calls.ts";

/** `struct sock_filter` codes (linux/bpf_common.h). */
const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_AT_LEAST = 0x35;
const JUMP_ANY_BIT = 0x45;
const AND = 0x54;
const RETURN = 0x06;

const ALLOW = 0x7fff0000;
const KILL = 0x80000000;
const errno = (number: number): number => 0x00050000 | number;
export const EPERM = 1;
export const EINVAL = 22;
export const EMFILE = 24;
export const EAFNOSUPPORT = 97;
export const ENOSYS = 38;

/** Offsets in `struct seccomp_data`; of an argument, the low half. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const argument = (index: number): number => 16 + 8 * index;

/** All of the flags that make a namespace. */
export const NEW_NAMESPACES = 0x7e020000;
/**
 * A process that shares its descriptors with another one, and is no thread of it: file locks would
 * stay when it is gone, and nobody could tell any more whose they are.
 */
export const CLONE_FILES = 0x400;
export const CLONE_THREAD = 0x10000;
/** Typing into a terminal: TIOCSTI, TIOCLINUX. */
export const REFUSED_IOCTLS = [0x5412, 0x541c];
/** Locks of an open file (F_OFD_GETLK, SETLK, SETLKW), of which nobody can tell whose they are. */
export const REFUSED_FCNTLS = [36, 37, 38];
export const PR_SET_PDEATHSIG = 1;
/** AF_UNIX, AF_INET and AF_INET6; netlink (16) for routes alone. */
export const SOCKET_FAMILIES = [1, 2, 10];
export const AF_NETLINK = 16;

const MACHINES = {
  x64: {
    audit: 0xc000003e,
    column: 0,
    clone: 56,
    ioctl: 16,
    fcntl: 72,
    prctl: 157,
    socket: 41,
  },
  arm64: {
    audit: 0xc00000b7,
    column: 1,
    clone: 220,
    ioctl: 29,
    fcntl: 25,
    prctl: 167,
    socket: 198,
  },
} as const;

/**
 * The numbers of a machine.
 *
 * @throws ERR_SANDBOX_UNAVAILABLE on a machine of another architecture
 */
export function seccompMachine(architecture: string): {
  readonly name: keyof typeof MACHINES;
  readonly machine: (typeof MACHINES)[keyof typeof MACHINES];
} {
  if (architecture === "x64" || architecture === "arm64") {
    return { name: architecture, machine: MACHINES[architecture] };
  }
  throw new SovereignError(
    "ERR_SANDBOX_UNAVAILABLE",
    `Expected an x86-64 or arm64 machine, found ${architecture}: there is no system call filter for it.`,
  );
}

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, value: number];

/**
 * The system call filter of every path, as bubblewrap's `--seccomp` reads it: an array of `struct
 * sock_filter`, little endian.
 *
 * It is a list of what is allowed: a call that is not named does not exist for a path, be it one that
 * a newer kernel adds or one of the x32 calls, a second door to the same kernel. So it closes what
 * namespaces leave open: other processes' memory, new namespaces and mounts, kernel interfaces with a
 * history, typing into terminals, exotic sockets. Setting the parent-death signal succeeds and does
 * nothing, so that no payload can take it from the namespace's first process.
 *
 * @throws ERR_SANDBOX_UNAVAILABLE on a machine of another architecture
 * @see seccomp(2), linux/seccomp.h
 */
export function seccompFilter(architecture: string = process.arch): Uint8Array {
  const { machine } = seccompMachine(architecture);
  const program: Instruction[] = [
    [LOAD, 0, 0, ARCHITECTURE],
    [JUMP_EQUAL, 1, 0, machine.audit],
    [RETURN, 0, 0, KILL],
    [LOAD, 0, 0, NUMBER],
    ...when(machine.clone, [
      [LOAD, 0, 0, argument(0)],
      [JUMP_ANY_BIT, 0, 1, NEW_NAMESPACES],
      [RETURN, 0, 0, errno(EPERM)],
      [AND, 0, 0, CLONE_FILES | CLONE_THREAD],
      ...when(CLONE_FILES, [[RETURN, 0, 0, errno(EPERM)]]),
      [RETURN, 0, 0, ALLOW],
    ]),
    // The kernel looks at the low half alone, and so do we.
    ...when(machine.ioctl, [
      [LOAD, 0, 0, argument(1)],
      ...REFUSED_IOCTLS.flatMap((request) => when(request, [[RETURN, 0, 0, errno(EPERM)]])),
      [RETURN, 0, 0, ALLOW],
    ]),
    ...when(machine.fcntl, [
      [LOAD, 0, 0, argument(1)],
      ...REFUSED_FCNTLS.flatMap((command) => when(command, [[RETURN, 0, 0, errno(EINVAL)]])),
      [RETURN, 0, 0, ALLOW],
    ]),
    ...when(machine.prctl, [
      [LOAD, 0, 0, argument(0)],
      ...when(PR_SET_PDEATHSIG, [[RETURN, 0, 0, errno(0)]]),
      ...PRCTL_OPTIONS.flatMap((option) => when(option, [[RETURN, 0, 0, ALLOW]])),
      [RETURN, 0, 0, errno(ENOSYS)],
    ]),
    ...when(machine.socket, socketRules()),
    ...byNumber(machine.column),
  ];
  return assemble(program);
}

/** What becomes of calls whatever their arguments, in the order of their numbers. */
function byNumber(column: 0 | 1): Instruction[] {
  const verdicts = new Map<number, number>();
  const judge = (calls: Readonly<Record<string, CallNumbers>>, verdict: number): void => {
    for (const numbers of Object.values(calls)) {
      const number = numbers[column];
      if (number !== null) verdicts.set(number, verdict);
    }
  };
  judge(ALLOWED, ALLOW);
  // Also `clone3`, whose flags lie behind a pointer: it is not named, and who asks is sent to `clone`.
  judge(REFUSED, errno(EPERM));
  judge(NONE_LEFT, errno(EMFILE));
  const newest = [...verdicts.keys()].reduce((most, number) => Math.max(most, number), 0);
  const program: Instruction[] = [];
  for (let number = 0; number <= newest; number++) {
    const verdict = verdicts.get(number) ?? errno(ENOSYS);
    const next = verdicts.get(number + 1) ?? errno(ENOSYS);
    if (number < newest && next === verdict) continue;
    program.push([JUMP_AT_LEAST, 1, 0, number + 1], [RETURN, 0, 0, verdict]);
  }
  return [...program, [RETURN, 0, 0, errno(ENOSYS)]];
}

function socketRules(): Instruction[] {
  const allowed = SOCKET_FAMILIES.flatMap((family): Instruction[] => [
    [JUMP_EQUAL, 0, 1, family],
    [RETURN, 0, 0, ALLOW],
  ]);
  return [
    [LOAD, 0, 0, argument(0)],
    ...allowed,
    [JUMP_EQUAL, 1, 0, AF_NETLINK],
    [RETURN, 0, 0, errno(EAFNOSUPPORT)],
    [LOAD, 0, 0, argument(2)],
    [JUMP_EQUAL, 0, 1, 0],
    [RETURN, 0, 0, ALLOW],
    [RETURN, 0, 0, errno(EAFNOSUPPORT)],
  ];
}

/** `rules` for one call; each way through them returns. */
function when(number: number, rules: readonly Instruction[]): Instruction[] {
  return [[JUMP_EQUAL, 0, rules.length, number], ...rules];
}

function assemble(program: readonly Instruction[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(program.length * 8));
  for (const [index, [code, ifTrue, ifFalse, value]] of program.entries()) {
    bytes.setUint16(index * 8, code, true);
    bytes.setUint8(index * 8 + 2, ifTrue);
    bytes.setUint8(index * 8 + 3, ifFalse);
    bytes.setUint32(index * 8 + 4, value, true);
  }
  return new Uint8Array(bytes.buffer);
}
