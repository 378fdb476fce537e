import { lstatSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, normalize } from "node:path";
import { SovereignError } from "@sovereign/core";
import type { Mount, SandboxRequest } from "./types.ts";

/** Descriptors that the launch uses. The payload has 0, 1 and 2 alone. */
export const INFO_FD = 3;
export const ARGS_FD = 4;
export const GATE_FD = 5;
export const SECCOMP_FD = 6;
export const READY_FD = 7;

const ARGV_MAX = 4096;
const ARGV_BYTES_MAX = 128 * 1024;
const TMP_BYTES = 256 * 1024 * 1024;
const SHM_BYTES = 16 * 1024 * 1024;

/** Refuses what could not be passed on exactly, or would open too much. */
export function checkRequest(request: SandboxRequest): SandboxRequest {
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
    readOnly: request.readOnly.map(checkMount),
    writable: request.writable.map(checkMount),
  };
}

function checkMount({ source, target }: Mount): Mount {
  if (!isAbsolute(source) || source.includes("\0")) throw refused(`an absolute source: ${source}`);
  const plain = isAbsolute(target) && normalize(target) === target && !target.includes("\0");
  if (!plain || target === "/") throw refused(`an absolute, plain target: ${target}`);
  const real = resolveSource(source);
  const home = homedir();
  if (real === "/" || real === home || home.startsWith(`${real}/`)) {
    throw refused(`a source narrower than ${real}`);
  }
  return { source: real, target };
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

/** The arguments of bubblewrap, passed through a descriptor so that no process list shows them. */
export function bubblewrapArguments(request: SandboxRequest): string[] {
  return [
    ...["--unshare-user", "--uid", "1000", "--gid", "1000", "--disable-userns"],
    ...["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try"],
    ...["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sovereign"],
    ...["--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/home/agent"],
    ...["--setenv", "TMPDIR", "/tmp", "--setenv", "LANG", "C.UTF-8"],
    ...Object.entries(request.env).flatMap(([key, value]) => ["--setenv", key, value]),
    ...systemMounts(),
    ...["--proc", "/proc", "--dev", "/dev"],
    ...["--size", String(SHM_BYTES), "--tmpfs", "/dev/shm"],
    ...["--size", String(TMP_BYTES), "--perms", "1777", "--tmpfs", "/tmp"],
    ...["--size", String(TMP_BYTES), "--perms", "0700", "--tmpfs", "/home/agent"],
    ...mountsOf(request),
    ...["--chdir", request.cwd, "--remount-ro", "/dev", "--remount-ro", "/"],
  ];
}

/** Outer mounts first, so that each lies on what it covers: what is read-only in a writable one too. */
function mountsOf({ readOnly, writable }: SandboxRequest): string[] {
  const mounts = [
    ...readOnly.map((one) => ({ ...one, flag: "--ro-bind" })),
    ...writable.map((one) => ({ ...one, flag: "--bind" })),
  ];
  const depth = (target: string): number => target.split("/").length;
  mounts.sort((one, other) => depth(one.target) - depth(other.target));
  return mounts.flatMap(({ flag, source, target }) => [flag, source, target]);
}

/** The system's programs and libraries, read-only; nothing else of the host is there. */
function systemMounts(): string[] {
  const mounts = ["--ro-bind", "/usr", "/usr"];
  for (const name of ["bin", "sbin", "lib", "lib64", "lib32", "libx32"]) {
    const path = `/${name}`;
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isSymbolicLink() === true) mounts.push("--symlink", `usr/${name}`, path);
    else if (found?.isDirectory() === true) mounts.push("--ro-bind", path, path);
  }
  for (const name of ["ld.so.cache", "ssl", "ca-certificates", "alternatives"]) {
    mounts.push("--ro-bind-try", `/etc/${name}`, `/etc/${name}`);
  }
  return mounts;
}

/**
 * Closes what Node let through, joins the control groups, then becomes bubblewrap. For bash: other
 * shells cannot close a descriptor above 9. Limits that would hinder bubblewrap itself are set by
 * the gate instead, inside.
 */
export const LAUNCH_SCRIPT = `groups=$1; files=$2; gate=$3; shift 3
for path in /proc/self/fd/*; do
  fd=\${path##*/}; [ "$fd" -le ${READY_FD} ] || eval "exec $fd<&-"
done
for folder in $groups; do echo 0 > "$folder/cgroup.procs" || exit 126; done
exec chrt -i 0 prlimit --core=0 --nofile=1024:1024 --fsize="$files" -- \
  bwrap --args ${ARGS_FD} --seccomp ${SECCOMP_FD} --info-fd ${INFO_FD} -- /bin/sh -c "$gate" sh "$@"`;

/** For a path without a sandbox, where the configuration asks for that: groups and gate alone. */
export const BARE_SCRIPT = `groups=$1; shift
for folder in $groups; do echo 0 > "$folder/cgroup.procs" || exit 126; done
echo ready >&${READY_FD}
IFS= read -r word <&${GATE_FD} && [ "$word" = go ] || exit 125
for path in /proc/self/fd/*; do
  fd=\${path##*/}; [ "$fd" -le 2 ] || eval "exec $fd<&-"
done
exec "$@"`;

/**
 * Says that all is set up, the death with its parent too: who lets it go earlier could lose it in
 * between. Then it waits for the word; end of file means that nobody will say it, and the payload never runs. */
export function gateScript(limits: SandboxRequest["limits"], perUserProcesses: boolean): string {
  const processes = perUserProcesses ? `--nproc=${limits.processes}` : "";
  const { memoryBytes, cpuSeconds } = limits;
  return `echo ready >&${READY_FD}; exec ${READY_FD}>&-
IFS= read -r word <&${GATE_FD} && [ "$word" = go ] || exit 125
exec ${GATE_FD}<&-
exec prlimit ${processes} --data=${memoryBytes} --cpu=${cpuSeconds}:${cpuSeconds + 1} -- "$@"`;
}

function refused(expected: string): SovereignError {
  return new SovereignError("ERR_SANDBOX_REQUEST", `The sandbox expects ${expected}.`);
}
