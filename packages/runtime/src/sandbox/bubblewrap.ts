import { utf8Encode } from "@sovereign/core";
import { identify, isFiltered, pidNamespaceOf } from "../process/index.ts";
import {
  BARE_SCRIPT,
  bubblewrapArguments,
  gateScript,
  LAUNCH_SCRIPT,
  mountNamespace,
  openingWords,
} from "./command-line.ts";
import { isInstalled, type Launcher, readAll, SYSTEM_PATH } from "./launcher.ts";
import { mapUser } from "./path-user.ts";
import { roomWords } from "./rooms.ts";
import { seccompFilter } from "./seccomp.ts";

/** Program → the Debian package that brings it. */
const PROGRAMS = { bwrap: "bubblewrap", unshare: "util-linux", mount: "mount" } as const;

/** Unprivileged namespaces by bubblewrap: the default. */
export const bubblewrap: Launcher = {
  backend: "bubblewrap",
  program: "bubblewrap",
  // bubblewrap, its first process inside, and the gate.
  processes: 3,
  missing: (searchPath) => {
    const absent = Object.entries(PROGRAMS).find(([name]) => !isInstalled(name, searchPath));
    if (absent === undefined) return null;
    const [program, debian] = absent;
    return `${program === "bwrap" ? debian : program} is not installed, and nothing runs without a sandbox. On Debian or Ubuntu type: sudo apt-get install ${debian}`;
  },
  prepare: (parts) => {
    const { request, mountPoint, marker, user } = parts;
    const drop = user !== null;
    const gate = gateScript(request.limits, parts);
    const settings = bubblewrapArguments(request, mountPoint, drop);
    return {
      first: mountNamespace(user),
      script: LAUNCH_SCRIPT,
      words: [
        ...[...openingWords(parts), ...roomWords(mountPoint, request.limits)],
        ...[gate, request.cwd, ...request.argv],
      ],
      // bubblewrap's own environment can be read by the payload: no secret is in it.
      env: { PATH: SYSTEM_PATH, ...marker },
      settings: utf8Encode(settings.map((word) => `${word}\0`).join("")),
      filter: seccompFilter(),
    };
  },
  confined: async (info) => {
    // It tells its first process's pid as JSON; nothing comes when it could not set up.
    const pid = /"child-pid":\s*(\d+)/.exec(await readAll(info))?.[1];
    const inner = pid === undefined ? null : identify(Number(pid));
    return inner === null ? null : { inner };
  },
  mapUser: ({ pid }, user) => {
    if (user !== null) mapUser(pid, user);
  },
  // Its first process asks for the death with its parent, then for the filter: who has the second
  // has the first.
  isSealed: ({ pid }) => isFiltered(pid),
  pidNamespace: ({ pid }) => pidNamespaceOf(pid),
};

/** No confinement at all, where the configuration asks for that by name. */
export const bare: Launcher = {
  backend: "none",
  program: "bash",
  processes: 3,
  missing: () => null,
  prepare: ({ request, groups, marker }) => ({
    first: [],
    script: BARE_SCRIPT,
    words: [groups.join(" "), ...request.argv],
    env: { PATH: SYSTEM_PATH, ...request.env, ...marker },
    settings: new Uint8Array(),
    filter: new Uint8Array(),
  }),
  confined: () => Promise.resolve({ inner: null }),
  mapUser: () => undefined,
  isSealed: () => true,
  pidNamespace: () => null,
};
