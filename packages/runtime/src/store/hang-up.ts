import type { Client } from "pg";

/** Ends a connection that nobody waits for: all that was asked was answered, or has failed by its own name. */
export async function hangUp(client: Client): Promise<void> {
  await client.end().catch(() => undefined);
}
