import type { Readable } from "node:stream";
import { canonicalBytes } from "@sovereign/core";
import { firstChildOf, identify, pidNamespaceOf } from "../process/index.ts";
import {
  ARGS_FD,
  GATE_FD,
  INFO_FD,
  OPENING_SCRIPT,
  openingWords,
  payloadClass,
  READY_FD,
  SECCOMP_FD,
  startingClass,
  systemFolders,
  USER_FD,
} from "./command-line.ts";
import { CONTAINER_GATE_FD, CONTAINER_READY_FD, containerConfig } from "./container-config.ts";
import { isInstalled, type Launcher, type LaunchParts, SYSTEM_PATH } from "./launcher.ts";
import { ROOM_SCRIPT, roomWords } from "./rooms.ts";

/**
 * A container by crun, an OCI runtime, without any privilege. crun alone dies without its
 * container, and counts processes where it stands; so it is the first process of namespaces of its
 * own, and the container's are nested in them: kill crun, and the kernel kills all inside.
 */
export const container: Launcher = {
  backend: "container",
  program: "crun",
  // unshare, crun, the container's first process, and one of crun's while it sets up.
  processes: 4,
  missing: (searchPath) => {
    const absent = Object.entries(PROGRAMS).find(([name]) => !isInstalled(name, searchPath));
    if (absent === undefined) return null;
    const [program, debian] = absent;
    return `${program} is not installed, and no command runs in a container without it. On Debian or Ubuntu type: sudo apt-get install ${debian}`;
  },
  prepare: (parts) => ({
    first: startingClass(),
    script: LAUNCH_SCRIPT,
    words: [
      ...openingWords(parts),
      // As root of the machine no user namespace is around the container's: one could not give it a
      // user that is nobody.
      parts.user === null ? "--user --map-root-user" : "",
      ...[SETUP_SCRIPT, systemFolders().links.join(" ")],
      ...roomWords(`${parts.mountPoint}/rooms`, parts.request.limits),
    ],
    env: { PATH: SYSTEM_PATH, ...parts.marker },
    settings: canonicalBytes(
      containerConfig(parts.request, parts.user, initScript(parts), `${parts.mountPoint}/rooms`),
    ),
    // It is among the settings.
    filter: new Uint8Array(),
  }),
  confined: async (info) => {
    const pid = await readLine(info);
    const inner = pid === "" ? null : identify(Number(pid));
    return inner === null ? null : { inner };
  },
  // The runtime writes the map that its settings say.
  mapUser: () => undefined,
  // It says who it is only after the death with its parent was asked for.
  isSealed: () => true,
  pidNamespace: ({ pid }) => {
    const first = firstChildOf(pid);
    return first === null ? null : pidNamespaceOf(first);
  },
};

/** The first line, empty when there is none: the pipe stays open as long as the path lives. */
function readLine(pipe: Readable): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    pipe.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      const end = text.indexOf("\n");
      if (end !== -1) resolve(text.slice(0, end));
    });
    pipe.once("close", () => {
      resolve("");
    });
  });
}

/** Program → the Debian package that brings it. */
const PROGRAMS: Readonly<Record<string, string>> = {
  crun: "crun",
  unshare: "util-linux",
  mount: "mount",
};

/** Becomes the keeper of namespaces that die with it as it dies with us. */
const LAUNCH_SCRIPT = `${OPENING_SCRIPT}
user=$1; shift
setup=$1; links=$2; shift 2
exec unshare $user --mount --pid --cgroup --fork --kill-child=KILL -- \
  /bin/bash --norc --noprofile -c "$setup" sh "$@" "$user" "$links"`;

/**
 * The first process of those namespaces: says who it is on the machine while it still sees the
 * machine's processes, makes a place for the bundle, and becomes crun. In a user namespace of its own one
 * more, the container's, may be made and no other; the filter of system calls refuses them too. crun refuses machines with both kinds of control
 * groups, so it is shown the second kind alone; it makes no groups here.
 */
const SETUP_SCRIPT = `set -e; umask 022
folder=\${1%/*}; user=$4; links=$5
IFS= read -r stat < /proc/self/stat
echo "\${stat%% *}" >&${INFO_FD}
[ -z "$user" ] || echo 1 > /proc/sys/user/max_user_namespaces
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2> /dev/null || :
mount -t proc proc /proc
mount -t tmpfs -o mode=0700,size=4m,nr_inodes=256 bundle "$folder"
mkdir "$folder/rootfs" "$folder/state" "$folder/rooms"
${ROOM_SCRIPT}
for name in $links; do ln -s "usr/$name" "$folder/rootfs/$name"; done
cat <&${ARGS_FD} > "$folder/config.json"
export XDG_RUNTIME_DIR="$folder/state"
exec crun --root "$folder/state" --cgroup-manager=disabled run --preserve-fds 2 \
  --bundle "$folder" path ${CONTAINER_GATE_FD}<&${GATE_FD} ${CONTAINER_READY_FD}>&${READY_FD} \
  ${GATE_FD}<&- ${SECCOMP_FD}<&- ${READY_FD}>&- ${USER_FD}<&-`;

/**
 * The container's first process. It stays, because the kernel spares a first process the signals
 * that limits and failures send; the payload is its child.
 */
function initScript({ request, perUserProcesses, heldDown }: LaunchParts): string {
  const processes = perUserProcesses ? `--nproc=${request.limits.processes}` : "";
  const { memoryBytes, cpuSeconds, fileBytes } = request.limits;
  return `cd "$1" || exit 126; shift
echo ready >&${CONTAINER_READY_FD}; exec ${CONTAINER_READY_FD}>&-
IFS= read -r word <&${CONTAINER_GATE_FD} && [ "$word" = go ] || exit 125
exec ${CONTAINER_GATE_FD}<&-
${payloadClass(heldDown)} prlimit ${processes} --fsize=${fileBytes} --data=${memoryBytes} \\
  --cpu=${cpuSeconds}:${cpuSeconds + 1} -- "$@"
exit $?`;
}
