import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ActionContext } from "@sovereign/core";
import {
  EGRESS,
  type EgressDoor,
  egressVariables,
  type RefusedHost,
  RELAY,
  SOCKETS,
  START_HELPER,
} from "../agents/index.ts";
import type { SandboxRequest } from "../sandbox/index.ts";

/** The relay is beside the command, which stays the sandbox's first process in all that counts. */
const SCRIPT = `${START_HELPER}exec "$@"\n`;
const NODE = ["/runtime/node", "--disable-warning=ExperimentalWarning"] as const;

/**
 * Run a command that reaches the hosts which policy names, and those alone.
 *
 * @param door absent where policy names none: the command then has no network
 * @param request whose sandbox sees Node at `/runtime/node`
 * @returns what came of it, and the last connection that was refused
 */
export async function withHosts<T>(
  door: EgressDoor | null | undefined,
  context: ActionContext,
  request: SandboxRequest,
  run: (request: SandboxRequest) => Promise<T>,
): Promise<{ readonly end: T; readonly refused: RefusedHost | null }> {
  if (door === null || door === undefined) return { end: await run(request), refused: null };
  // A socket's path has at most 107 bytes, and a run's folder may have more.
  const folder = mkdtempSync(join(tmpdir(), "sov-"));
  try {
    const way = await door.open(join(folder, EGRESS.socket), context);
    let end: T;
    try {
      end = await run({
        ...request,
        argv: ["/bin/sh", "-c", SCRIPT, "sh", ...RELAY_WORDS, "--", ...request.argv],
        readOnly: [
          ...request.readOnly,
          { source: RELAY.source, target: RELAY.target },
          { source: folder, target: SOCKETS, own: true },
        ],
        env: { ...request.env, ...egressVariables(way.token) },
      });
    } finally {
      await way.close();
    }
    return { end, refused: way.refused() };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const RELAY_WORDS = [...NODE, RELAY.target, ...EGRESS.relayWords];
