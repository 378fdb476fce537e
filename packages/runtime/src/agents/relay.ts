import { programInside } from "../system/index.ts";

/** The relay's program, and where a sandbox sees it. */
export const RELAY = programInside("agents/inside/relay");

/** Where a sandbox sees the folder of its proxies' sockets. */
export const SOCKETS = "/sovereign/run";

/** Where a sandbox believes the egress proxy to be: nobody else has this loopback. */
const EGRESS_PORT = 8791;
const EGRESS_NAME = "egress.sock";

/** How a sandbox sees the egress proxy: its socket in a folder, and the relay's words for it. */
export const EGRESS = {
  /** The socket's name in the folder that is mounted at `SOCKETS`. */
  socket: EGRESS_NAME,
  relayWords: [String(EGRESS_PORT), `${SOCKETS}/${EGRESS_NAME}`],
} as const;

/**
 * What tells programs of the egress proxy. Only TLS goes through it, so nothing is said for plain
 * HTTP; what is on the loopback is reached without it.
 *
 * @param token the password of the proxy's URL
 */
export function egressVariables(token: string): Record<string, string> {
  const url = `http://run:${token}@127.0.0.1:${EGRESS_PORT}`;
  const near = "localhost,127.0.0.1,::1";
  return {
    HTTPS_PROXY: url,
    https_proxy: url,
    NO_PROXY: near,
    no_proxy: near,
    // Node's own fetch follows these variables where it is told to.
    NODE_USE_ENV_PROXY: "1",
  };
}

/**
 * A script's beginning: starts the program of its words up to `--` in the background, and leaves the
 * rest in `$@` when that program listens. `$helper` is its process.
 */
export const START_HELPER = `mkfifo /tmp/ready || exit 125
set -f; helper=; while [ "$1" != -- ]; do helper="$helper $1"; shift; done; shift
$helper >/tmp/ready </dev/null 2>/dev/null &
helper=$!
read -r word </tmp/ready && [ "$word" = ready ] || exit 125
rm /tmp/ready
`;
