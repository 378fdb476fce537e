import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { canonicalize } from "@sovereign/core";
import type { ApiServices, RunEvent } from "../services/index.ts";
import type { Caller, Reply } from "./route.ts";
import { rest } from "../system/index.ts";

/** How often the ledger is asked for what is new. */
const LOOK_MS = 500;
/** A line without a meaning, so that nobody between takes the connection for dead. */
const ALIVE_MS = 15_000;

interface Place {
  readonly runId: string;
  /** The sequence of the first entry that is wanted. */
  readonly from: number;
}

/**
 * The entries of a run as server-sent events, as they are recorded. The stream ends with the run, with
 * the token, and with the server; whoever asks again with the last id goes on where it ended.
 *
 * @throws ERR_RUN_NOT_FOUND before anything is sent
 */
export async function followEvents(
  services: ApiServices,
  caller: Caller,
  place: Place,
  signal: AbortSignal,
): Promise<Reply> {
  const first = await services.readEvents(caller.tenantId, place.runId, place.from);
  if (first.ended && first.events.length === 0) return { status: 204 };
  return {
    stream: async (to) => {
      let next = place.from;
      let { events, ended } = first;
      let told = performance.now();
      for (;;) {
        for (const event of events) await send(to, textOf(event), signal);
        if (events.length > 0) told = performance.now();
        next = (events.at(-1)?.sequence ?? next - 1) + 1;
        if (ended || signal.aborted || to.destroyed) return;
        if (performance.now() - told > ALIVE_MS) {
          await send(to, ": alive\n\n", signal);
          told = performance.now();
        }
        await rest(LOOK_MS, signal);
        if (!(await caller.stillCounts())) return;
        ({ events, ended } = await services.readEvents(caller.tenantId, place.runId, next));
      }
    },
  };
}

function textOf({ sequence, entry }: RunEvent): string {
  return `id: ${sequence}\nevent: ${entry.event_type}\ndata: ${canonicalize(entry)}\n\n`;
}

/** If the reader is slow, nothing more is read for it (back pressure). */
async function send(to: ServerResponse, text: string, signal: AbortSignal): Promise<void> {
  if (to.destroyed || to.write(text)) return;
  const waited = new AbortController();
  const options = { signal: AbortSignal.any([signal, waited.signal]) };
  const either = Promise.race([once(to, "drain", options), once(to, "close", options)]);
  // Whoever reads no more, or a server that ends: the caller of this looks for itself.
  await either.catch(() => undefined);
  waited.abort();
}
