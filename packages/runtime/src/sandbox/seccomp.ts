import { SovereignError } from "@sovereign/core";

/** `struct sock_filter` codes (linux/bpf_common.h). */
const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_AT_LEAST = 0x35;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;

const ALLOW = 0x7fff0000;
const KILL = 0x80000000;
const errno = (number: number): number => 0x00050000 | number;
export const EPERM = 1;
export const EAFNOSUPPORT = 97;
export const ENOSYS = 38;

/** Offsets in `struct seccomp_data`; of an argument, the low half. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const argument = (index: number): number => 16 + 8 * index;

/** All of the flags that make a namespace. */
export const NEW_NAMESPACES = 0x7e020000;
export const TIOCSTI = 0x5412;
export const TIOCLINUX = 0x541c;
export const PR_SET_PDEATHSIG = 1;
/** AF_UNIX, AF_INET and AF_INET6; netlink (16) for routes alone. */
export const SOCKET_FAMILIES = [1, 2, 10];
export const AF_NETLINK = 16;

/** Refused with EPERM whatever their arguments: [x86-64, arm64], null where it is not there. */
export const REFUSED: Readonly<Record<string, readonly [number, number | null]>> = {
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  process_madvise: [440, 440],
  pidfd_open: [434, 434],
  pidfd_send_signal: [424, 424],
  pidfd_getfd: [438, 438],
  kcmp: [312, 272],
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  setns: [308, 268],
  unshare: [272, 97],
  personality: [135, 92],
  open_by_handle_at: [304, 265],
  name_to_handle_at: [303, 264],
  fanotify_init: [300, 262],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  acct: [163, 89],
  swapon: [167, 224],
  swapoff: [168, 225],
  reboot: [169, 142],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  syslog: [103, 116],
  vhangup: [153, 58],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  clock_adjtime: [305, 266],
  adjtimex: [159, 171],
  move_pages: [279, 239],
  migrate_pages: [256, 238],
  iopl: [172, null],
  ioperm: [173, null],
  modify_ldt: [154, null],
  uselib: [134, null],
};

/**
 * The newest call that was looked at, removexattrat, on both machines: the numbers of new calls are
 * the same everywhere. What a newer kernel adds is not there, until it was looked at as well; nor are
 * the x32 calls, a second door to the same kernel, whose numbers begin at 0x40000000.
 */
const NEWEST = 466;

const MACHINES = {
  x64: {
    audit: 0xc000003e,
    column: 0,
    clone: 56,
    clone3: 435,
    ioctl: 16,
    prctl: 157,
    socket: 41,
  },
  arm64: {
    audit: 0xc00000b7,
    column: 1,
    clone: 220,
    clone3: 435,
    ioctl: 29,
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
 * It closes what namespaces leave open: other processes' memory, new namespaces and mounts, kernel
 * interfaces with a history, typing into terminals, exotic sockets. Setting the parent-death signal
 * succeeds and does nothing, so that no payload can take it from the namespace's first process.
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
  ];
  program.push([JUMP_AT_LEAST, 0, 1, NEWEST + 1], [RETURN, 0, 0, errno(ENOSYS)]);
  for (const numbers of Object.values(REFUSED)) {
    const number = numbers[machine.column];
    if (number !== null) program.push(...when(number, [[RETURN, 0, 0, errno(EPERM)]]));
  }
  program.push(
    // Its flags lie behind a pointer: whoever asks is sent to `clone`, as on an older kernel.
    ...when(machine.clone3, [[RETURN, 0, 0, errno(ENOSYS)]]),
    ...when(machine.clone, [
      [LOAD, 0, 0, argument(0)],
      [JUMP_ANY_BIT, 0, 1, NEW_NAMESPACES],
      [RETURN, 0, 0, errno(EPERM)],
      [RETURN, 0, 0, ALLOW],
    ]),
    // The kernel looks at the low half alone, and so do we.
    ...when(machine.ioctl, [
      [LOAD, 0, 0, argument(1)],
      [JUMP_EQUAL, 1, 0, TIOCSTI],
      [JUMP_EQUAL, 0, 1, TIOCLINUX],
      [RETURN, 0, 0, errno(EPERM)],
      [RETURN, 0, 0, ALLOW],
    ]),
    ...when(machine.prctl, [
      [LOAD, 0, 0, argument(0)],
      [JUMP_EQUAL, 0, 1, PR_SET_PDEATHSIG],
      [RETURN, 0, 0, errno(0)],
      [RETURN, 0, 0, ALLOW],
    ]),
    ...when(machine.socket, socketRules()),
    [RETURN, 0, 0, ALLOW],
  );
  return assemble(program);
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
