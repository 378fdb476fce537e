import { lstatSync, statSync } from "node:fs";
import { join } from "node:path";
import { type JsonObject, SovereignError } from "@sovereign/core";
import { mountsInOrder, systemFolders } from "./command-line.ts";
import { containerSeccomp } from "./container-seccomp.ts";
import { OPEN_FILES } from "./holdings.ts";
import { INSIDE } from "./path-user.ts";
import { ROOMS } from "./rooms.ts";
import type { Mount, SandboxRequest } from "./types.ts";

/** Descriptors of the container's first process, next to 0, 1 and 2; the payload has neither. */
export const CONTAINER_GATE_FD = 3;
export const CONTAINER_READY_FD = 4;

/** What is mounted below a folder may come along, and what holds of the folder holds of that too. */
const FOLDER = ["rbind", "rprivate", "rnosuid", "rnodev"];
const FILE = ["bind", "private", "nosuid", "nodev"];

/**
 * The configuration of an OCI runtime for one path: what bubblewrap's arguments say, in its words.
 *
 * @param user who the payload is outside, null for who we are
 * @param init the script of the container's first process; the payload's folder and words follow it
 * @param rooms where `ROOM_SCRIPT` mounts what can be written to
 * @see https://github.com/opencontainers/runtime-spec, config.md and config-linux.md
 */
export function containerConfig(
  request: SandboxRequest,
  user: number | null,
  init: string,
  rooms: string,
): JsonObject {
  const mapping = mappingOf(user);
  return {
    ociVersion: "1.0.0",
    hostname: "sovereign",
    process: processOf(request, init),
    root: { path: "rootfs", readonly: true },
    mounts: [...systemMounts(rooms), ...requestMounts(request)],
    linux: {
      uidMappings: mapping,
      gidMappings: mapping,
      namespaces: ["user", "pid", "mount", "ipc", "uts", "network", "cgroup"].map((type) => ({
        type,
      })),
      maskedPaths: ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi"],
      // /dev only now: the runtime makes its devices first.
      readonlyPaths: ["/dev", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"].concat(
        "/proc/sysrq-trigger",
      ),
      seccomp: containerSeccomp(),
    },
  };
}

/** Around the container we are its root, or root of the machine: that one sets up, nobody runs. */
function mappingOf(user: number | null): JsonObject[] {
  const map = (containerID: number, hostID: number): JsonObject => ({
    containerID,
    hostID,
    size: 1,
  });
  return user === null ? [map(INSIDE, 0)] : [map(0, 0), map(INSIDE, user)];
}

function processOf({ argv, cwd, env }: SandboxRequest, init: string): JsonObject {
  const given = {
    PATH: "/usr/bin:/bin",
    HOME: "/home/agent",
    TMPDIR: "/tmp",
    LANG: "C.UTF-8",
    ...env,
  };
  const limit = (type: string, value: number): JsonObject => ({ type, hard: value, soft: value });
  return {
    terminal: false,
    user: { uid: INSIDE, gid: INSIDE, umask: 0o22 },
    args: ["/bin/sh", "-c", init, "sh", cwd, ...argv],
    env: Object.entries(given).map(([key, value]) => `${key}=${value}`),
    // The runtime would make a folder that is not there: the first process goes where it is asked to.
    cwd: "/",
    capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
    noNewPrivileges: true,
    // Limits of the payload alone are set by the first process: these hold for the runtime too.
    rlimits: [limit("RLIMIT_CORE", 0), limit("RLIMIT_NOFILE", OPEN_FILES)],
  };
}

/** The system's programs and libraries, read-only, and sized places to write to. */
function systemMounts(rooms: string): JsonObject[] {
  const { folders, optional } = systemFolders();
  return [
    ...[...folders, ...optional].map((path) => bind(path, path, true)),
    {
      destination: "/proc",
      type: "proc",
      source: "proc",
      options: ["nosuid", "noexec", "nodev"],
    },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "mode=755", "size=65536", "nr_inodes=64"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
    },
    ...Object.entries(ROOMS).map(([destination, name]) => ({
      destination,
      type: "bind",
      source: `${rooms}/${name}`,
      options: [...FOLDER],
    })),
  ];
}

function requestMounts(request: SandboxRequest): JsonObject[] {
  const mounts = mountsInOrder(request);
  return mounts.map((one) => {
    const below = mounts.filter(({ target }) => one.target.startsWith(`${target}/`)).at(-1);
    if (below !== undefined) refuseLinks(below, one.target);
    return bind(one.source, one.target, one.readOnly);
  });
}

/**
 * A mount that lies in another must lie where it says: the runtime would follow a link, inside, and
 * leave uncovered what was to be covered. What an earlier payload left in a tree may be such a link.
 */
function refuseLinks(below: Mount, target: string): void {
  let path = below.source;
  for (const name of target.slice(below.target.length + 1).split("/")) {
    path = join(path, name);
    if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() !== true) continue;
    const text = `The sandbox expects a target without links: ${target} has one.`;
    throw new SovereignError("ERR_SANDBOX_REQUEST", text);
  }
}

/** crun 1.8 applies recursive options to folders alone; a file has nothing below it. */
function bind(source: string, destination: string, readOnly: boolean): JsonObject {
  const options = statSync(source).isDirectory()
    ? [...FOLDER, ...(readOnly ? ["rro"] : [])]
    : [...FILE, ...(readOnly ? ["ro"] : [])];
  return { destination, type: "bind", source, options };
}
