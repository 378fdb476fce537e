import { utf8Encode } from "@sovereign/core";
import { identify, isFiltered, pidNamespaceOf } from "../process/index.ts";
import {
  BARE_SCRIPT,
  bubblewrapArguments,
  gateScript,
  LAUNCH_SCRIPT,
  openingWords,
} from "./command-line.ts";
import { isInstalled, type Launcher, readAll, SYSTEM_PATH } from "./launcher.ts";
import { mapUser } from "./path-user.ts";
import { seccompFilter } from "./seccomp.ts";

/** Unprivileged namespaces by bubblewrap: the default. */
export const bubblewrap: Launcher = {
  backend: "bubblewrap",
  program: "bubblewrap",
  // bubblewrap, its first process inside, and the gate.
  processes: 3,
  missing: (searchPath) =>
    isInstalled("bwrap", searchPath)
      ? null
      : "bubblewrap is not installed, and nothing runs without a sandbox. On Debian or Ubuntu type: sudo apt-get install bubblewrap",
  prepare: (parts) => {
    const { request, marker, user, perUserProcesses } = parts;
    const drop = user !== null;
    const gate = gateScript(request.limits, { perUserProcesses, drop });
    const settings = bubblewrapArguments(request, drop).map((word) => `${word}\0`);
    const files = String(request.limits.fileBytes);
    return {
      script: LAUNCH_SCRIPT,
      words: [...openingWords(parts), files, gate, request.cwd, ...request.argv],
      // bubblewrap's own environment can be read by the payload: no secret is in it.
      env: { PATH: SYSTEM_PATH, ...marker },
      settings: utf8Encode(settings.join("")),
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
