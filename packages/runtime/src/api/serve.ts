import { parseListenAddress } from "../scram-http/index.ts";
import { readTls, type ServerEvent, type Services, type TlsFiles } from "../services/index.ts";
import { ApiServer } from "./server.ts";

/** How the API is served. */
export interface ServeInput extends TlsFiles {
  /** `ADDRESS:PORT`, `[ADDRESS]:PORT` or `unix:PATH`. */
  readonly listen: string;
  /** Serve other machines without TLS. */
  readonly plaintext: boolean;
  readonly names: readonly string[];
  /** How many requests a token may make, in a second on average. */
  readonly perSecond: number;
  /** How long runs at work may go on after the signal. */
  readonly drainMs: number;
  /** False where runs are left to workers. */
  readonly carries: boolean;
  readonly signal: AbortSignal;
  readonly onEvent: (event: ServeEvent) => void;
}

export type ServeEvent =
  | ServerEvent
  | { readonly event: "listening"; readonly url: string }
  | { readonly event: "ending" }
  | { readonly event: "fault"; readonly why: string };

/**
 * Serve the API until the signal. Runs at work are then waited for; what is not at its end in time is
 * interrupted, and the next server goes on with it.
 *
 * @throws ERR_HTTP_CONFIG, ERR_HTTP_LISTEN, ERR_TOKEN_NONE, ERR_FILE_UNREADABLE
 */
export async function serveApi(
  services: Pick<Services, "openServer">,
  input: ServeInput,
): Promise<void> {
  const { signal, onEvent, plaintext, names, perSecond, drainMs } = input;
  const listen = parseListenAddress(input.listen);
  const tls = readTls(input);
  const opened = services.openServer(onEvent, input.carries);
  const onFault = (error: unknown): void => {
    onEvent({ event: "fault", why: error instanceof Error ? error.message : "unknown" });
  };
  try {
    const server = await ApiServer.start({
      services: opened,
      listen,
      tls,
      plaintext,
      names,
      rates: { perSecond },
      onFault,
    });
    onEvent({ event: "listening", url: server.url });
    // Callers are answered, whatever became of the runs of before.
    const recovered = opened.recover(signal).catch(onFault);
    if (!signal.aborted) {
      await new Promise((resolve) => {
        signal.addEventListener("abort", resolve);
      });
    }
    onEvent({ event: "ending" });
    await server.close();
    await recovered;
  } finally {
    await opened.close(drainMs);
  }
}
