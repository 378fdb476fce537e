import { existsSync, lstatSync, realpathSync } from "node:fs";
import { getPriority, homedir } from "node:os";
import { dirname, isAbsolute, normalize } from "node:path";
import { SovereignError } from "@sovereign/core";
import { OPEN_FILES, pathLimits } from "./holdings.ts";
import type { CheckedRequest, LaunchParts } from "./launcher.ts";
import { INSIDE } from "./path-user.ts";
import { ROOM_SCRIPT, ROOMS } from "./rooms.ts";
import type { Mount, SandboxRequest } from "./types.ts";

/** Descriptors that the launch uses. The payload has 0, 1 and 2 alone. */
export const INFO_FD = 3;
export const ARGS_FD = 4;
export const GATE_FD = 5;
export const SECCOMP_FD = 6;
export const READY_FD = 7;
export const USER_FD = 8;
export const GUARD_FD = 9;
const LAUNCH_FDS = [INFO_FD, ARGS_FD, GATE_FD, SECCOMP_FD, READY_FD, USER_FD, GUARD_FD];

const ARGV_MAX = 4096;
const ARGV_BYTES_MAX = 128 * 1024;

/** Refuses what could not be passed on exactly, or would open too much. */
export function checkRequest(request: SandboxRequest): CheckedRequest {
  const { argv, env, cwd } = request;
  const words = [...argv, ...Object.entries(env).flat(), cwd];
  if (argv.length === 0 || argv.length > ARGV_MAX) throw refused("a command of 1 to 4096 words");
  if (words.some((word) => word.includes("\0"))) throw refused("words without NUL bytes");
  if (words.reduce((total, word) => total + word.length, 0) > ARGV_BYTES_MAX) {
    throw refused(`at most ${ARGV_BYTES_MAX} characters of words`);
  }
  if (Object.keys(env).some((key) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(key))) {
    throw refused("environment names of letters, digits and _");
  }
  return {
    ...request,
    limits: pathLimits(request.limits),
    readOnly: request.readOnly.map(checkMount),
    writable: request.writable.map(checkMount),
  };
}

function checkMount({ source, target, own = false }: Mount): Mount {
  if (!isAbsolute(source) || source.includes("\0")) throw refused(`an absolute source: ${source}`);
  const plain = isAbsolute(target) && normalize(target) === target && !target.includes("\0");
  if (!plain || target === "/") throw refused(`an absolute, plain target: ${target}`);
  const real = resolveSource(source);
  const home = homeFolder();
  if (real === "/" || real === home || home.startsWith(`${real}/`)) {
    throw refused(`a source narrower than ${real}`);
  }
  return { source: real, target, own };
}

/** Empty for a user that neither the environment nor the system knows one of. */
function homeFolder(): string {
  try {
    return homedir();
  } catch {
    return "";
  }
}

function resolveSource(source: string): string {
  try {
    const real = realpathSync(source);
    const found = lstatSync(real);
    if (found.isDirectory() || found.isFile()) return real;
  } catch {
    // Falls through: what cannot be looked at is not mounted.
  }
  throw refused(`a source that is a file or folder: ${source}`);
}

/**
 * The arguments of bubblewrap, passed through a descriptor so that no process list shows them.
 * @param rooms where `ROOM_SCRIPT` mounted what can be written to
 * @param drop set up as root, for a gate that then becomes somebody else
 */
export function bubblewrapArguments(
  request: SandboxRequest,
  rooms: string,
  drop: boolean,
): string[] {
  return [
    ...["--unshare-user", "--cap-drop", "ALL", ...(drop ? AS_ROOT : AS_OURSELVES)],
    ...["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try"],
    ...["--die-with-parent", "--new-session", "--hostname", "sovereign"],
    ...["--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/home/agent"],
    ...["--setenv", "TMPDIR", "/tmp", "--setenv", "LANG", "C.UTF-8"],
    ...Object.entries(request.env).flatMap(([key, value]) => ["--setenv", key, value]),
    ...systemMounts(),
    ...["--proc", "/proc", "--dev", "/dev"],
    ...["--perms", "0755", "--dir", "/home"],
    ...Object.entries(ROOMS).flatMap(([target, name]) => ["--bind", `${rooms}/${name}`, target]),
    ...mountsInOrder(request).flatMap((one) => bind(one.readOnly ? "--ro-bind" : "--bind", one)),
    // Who sets up as root may not enter what is somebody else's: there the gate changes folder.
    ...["--chdir", drop ? "/" : request.cwd, "--remount-ro", "/dev", "--remount-ro", "/"],
  ];
}

/** With its parents, which bubblewrap itself would make for its own user's eyes alone. */
function bind(kind: string, { source, target }: Mount): string[] {
  const names = dirname(target).split("/").slice(1);
  const parents = names.map((_, index) => `/${names.slice(0, index + 1).join("/")}`);
  const made = parents.filter((path) => path !== "/");
  return [...made.flatMap((path) => ["--perms", "0755", "--dir", path]), kind, source, target];
}

const AS_OURSELVES = ["--uid", String(INSIDE), "--gid", String(INSIDE), "--disable-userns"];
/** The filter of system calls refuses further user namespaces; bubblewrap's own way needs its map. */
const AS_ROOT = [
  ...["--uid", "0", "--gid", "0", "--userns-block-fd", String(USER_FD)],
  ...["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"].flatMap((name) => ["--cap-add", name]),
];

/** Outer mounts first, so that each lies on what it covers: what is read-only in a writable one too. */
export function mountsInOrder({
  readOnly,
  writable,
}: SandboxRequest): (Mount & { readonly readOnly: boolean })[] {
  const mounts = [
    ...readOnly.map((one) => ({ ...one, readOnly: true })),
    ...writable.map((one) => ({ ...one, readOnly: false })),
  ];
  const depth = (target: string): number => target.split("/").length;
  return mounts.sort((one, other) => depth(one.target) - depth(other.target));
}

export interface SystemFolders {
  /** Names in the root that are links to the folder of that name in /usr. */
  readonly links: readonly string[];
  readonly folders: readonly string[];
  /** Which a system may lack. */
  readonly optional: readonly string[];
}

/** The system's programs and libraries; nothing else of the host is seen inside. */
export function systemFolders(): SystemFolders {
  const links: string[] = [];
  const folders = ["/usr"];
  for (const name of ["bin", "sbin", "lib", "lib64", "lib32", "libx32"]) {
    const found = lstatSync(`/${name}`, { throwIfNoEntry: false });
    if (found?.isSymbolicLink() === true) links.push(name);
    else if (found?.isDirectory() === true) folders.push(`/${name}`);
  }
  const optional = ["ld.so.cache", "ssl", "ca-certificates", "alternatives"];
  return {
    links,
    folders,
    optional: optional.map((name) => `/etc/${name}`).filter((path) => existsSync(path)),
  };
}

function systemMounts(): string[] {
  const { links, folders, optional } = systemFolders();
  return [
    ...folders.flatMap((path) => ["--ro-bind", path, path]),
    ...["--perms", "0755", "--dir", "/etc"],
    ...optional.flatMap((path) => ["--ro-bind", path, path]),
    ...links.flatMap((name) => ["--symlink", `usr/${name}`, `/${name}`]),
  ];
}

/**
 * The command of a launch. Should who launches it die, all of it dies, whatever it is doing: it asks
 * for its death with its parent, and ends where by then somebody else is that; and until it is told
 * `ready` a guard waits beside it, which kills its whole process group. (What bubblewrap makes waits
 * for bubblewrap before it asks for its own death, and would wait for ever.)
 * @param parent the pid of who launches
 * @param first a command that becomes the script's shell, such as one that makes a namespace for it
 */
export function launchCommand(
  parent: number,
  script: string,
  words: readonly string[],
  first: readonly string[] = [],
): string[] {
  return [
    ...["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", ...first],
    // Without --norc, bash takes a socket on its input for a remote login and runs ~/.bashrc.
    ...["/bin/bash", "--norc", "--noprofile", "-c", `${GUARDED}\n${script}`, "sh"],
    ...[String(parent), ...words],
  ];
}

/** It also closes what Node let through. For bash: other shells cannot close a descriptor above 9. */
const GUARDED = `[ "$PPID" = "$1" ] || exit 125; shift
for path in /proc/self/fd/*; do
  fd=\${path##*/}; [ "$fd" -le ${GUARD_FD} ] || eval "exec $fd<&-"
done
{ read -r word && [ "$word" = ready ] || kill -KILL -- "-$$"; } <&${GUARD_FD} >/dev/null 2>&1 ${LAUNCH_FDS.map((fd) => `${fd}<&-`).join(" ")} &
exec ${GUARD_FD}<&-`;

/**
 * How every path begins: joins the control groups, and gives the folders that are its own to the user
 * that the path will be (none where we are not root). Its words are those of `openingWords`.
 */
export const OPENING_SCRIPT = `groups=$1; user=$2; shift 2
for folder in $groups; do echo 0 > "$folder/cgroup.procs" || exit 126; done
while [ "$1" != -- ]; do
  [ -z "$user" ] || chown -RhP --from=0 "$user:$user" "$1" || exit 126; shift
done; shift
ulimit -c 0; ulimit -n ${OPEN_FILES} || exit 126`;

export function openingWords({
  request: { readOnly, writable },
  groups,
  user,
}: LaunchParts): string[] {
  const given = [...writable, ...readOnly.filter(({ own }) => own === true)];
  const first = [groups.join(" "), String(user ?? "")];
  return [...first, ...given.map(({ source }) => source), "--"];
}

/**
 * The words that set how it is scheduled until its gate opens: as anybody's work, so that it is set up
 * in time beside others who keep the processors busy. Never as root's sentinel, which it would inherit.
 */
export function startingClass(): string[] {
  const raised = -getPriority();
  return raised > 0 ? ["nice", "-n", String(raised)] : [];
}

/**
 * The words that set it for the payload. The lowest, where the group of all paths is raised when they
 * must die; elsewhere that of anybody's work, because no ordinary user can raise what was lowered, and
 * in the lowest class a path that was killed waits behind all others before it is dead.
 */
export function payloadClass(heldDown: boolean): string {
  return heldDown ? "nice -n 19 chrt -i 0" : "";
}

/**
 * The command that makes the mount namespace in which bubblewrap is set up. Who is not root of the
 * machine has a user namespace of its own for it.
 */
export function mountNamespace(user: number | null): string[] {
  const own = user === null ? ["--user", "--map-root-user"] : [];
  return [...startingClass(), "unshare", ...own, "--mount", "--"];
}

/**
 * In that namespace: mounts what the path may write to, and becomes bubblewrap. Its words are those of
 * the opening and of `roomWords`, the gate, the payload's folder and words. Limits that would hinder
 * bubblewrap itself are set by the gate instead, inside.
 *
 * One shell does all of it: each program more that a launch becomes takes about a millisecond.
 */
export const LAUNCH_SCRIPT = `${OPENING_SCRIPT}
set -e; umask 022
${ROOM_SCRIPT}
gate=$4; shift 4
exec bwrap --args ${ARGS_FD} --seccomp ${SECCOMP_FD} --info-fd ${INFO_FD} -- /bin/sh -c "$gate" sh "$@"`;

/** For a path without a sandbox, where the configuration asks for that: groups and gate alone. */
export const BARE_SCRIPT = `groups=$1; shift
for folder in $groups; do echo 0 > "$folder/cgroup.procs" || exit 126; done
echo ready >&${READY_FD}
IFS= read -r word <&${GATE_FD} && [ "$word" = go ] || exit 125
for path in /proc/self/fd/*; do
  fd=\${path##*/}; [ "$fd" -le 2 ] || eval "exec $fd<&-"
done
exec "$@"`;

const BECOME_NOBODY = `setpriv --reuid=${INSIDE} --regid=${INSIDE} --clear-groups --inh-caps=-all --bounding-set=-all env --chdir="$cd"`;

/**
 * Says that it waits, and waits for the word; end of file means that nobody will say it, and the
 * payload never runs.
 */
export function gateScript(
  limits: SandboxRequest["limits"],
  { perUserProcesses, user, heldDown }: LaunchParts,
): string {
  const processes = perUserProcesses ? `--nproc=${limits.processes}` : "";
  const { memoryBytes, cpuSeconds, fileBytes } = limits;
  return `echo ready >&${READY_FD}; exec ${READY_FD}>&-
IFS= read -r word <&${GATE_FD} && [ "$word" = go ] || exit 125
exec ${GATE_FD}<&- ${USER_FD}<&-
cd=$1; shift
exec ${user === null ? "" : BECOME_NOBODY} ${payloadClass(heldDown)} prlimit ${processes} --fsize=${fileBytes} --data=${memoryBytes} --cpu=${cpuSeconds}:${cpuSeconds + 1} -- "$@"`;
}

function refused(expected: string): SovereignError {
  return new SovereignError("ERR_SANDBOX_REQUEST", `The sandbox expects ${expected}.`);
}
