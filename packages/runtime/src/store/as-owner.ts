import { SovereignError } from "@sovereign/core";
import pg from "pg";
import type { ConnectionTarget } from "./connection-target.ts";
import { codeOf, isConnectionLoss } from "./database.ts";
import { parseDatabaseUrl } from "./database-url.ts";
import { ownerConfig, startEmbedded, stopEmbedded } from "./embedded.ts";
import { hangUp } from "./hang-up.ts";
import type { Where } from "./where.ts";

/**
 * Work as the database's owner, over a connection of its own.
 * @param work is told whether the server is the embedded one
 * @throws ERR_POSTGRES_…, ERR_STORE_UNAVAILABLE
 */
export async function asOwner<T>(
  { folder, databaseUrl }: Where,
  work: (client: pg.Client, own: boolean) => Promise<T>,
): Promise<T> {
  const target: ConnectionTarget =
    databaseUrl === null ? await startEmbedded(folder) : parseDatabaseUrl(databaseUrl);
  const client = new pg.Client(ownerConfig(target));
  client.on("error", () => undefined);
  try {
    await client.connect();
    return await work(client, target.kind === "embedded");
  } catch (cause) {
    if (cause instanceof SovereignError || !isConnectionLoss(cause)) throw cause;
    const text = `The database did not answer to the end (${codeOf(cause) || "connection lost"}). Try again.`;
    throw new SovereignError("ERR_STORE_UNAVAILABLE", text, { code: codeOf(cause) }, cause);
  } finally {
    await hangUp(client);
    await stopEmbedded(target, folder);
  }
}
