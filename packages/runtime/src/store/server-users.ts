import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { startTimeOf } from "../process/index.ts";
import { hangUp } from "./hang-up.ts";

/** How long a connection may take to end in the server. */
const LINGER_MS = 400;
const POLL_MS = 20;
/** A connection that only looks who else is there. */
const LOOKING = "sovereign looks";
const USER = /^sovereign (\d+) (\d+)$/;

const OWN = `sovereign ${process.pid} ${startTimeOf(process.pid) ?? "0"}`;

/** What a connection to the embedded server says of itself: whose it is. */
export const CONNECTION_NAME: string = OWN;

/**
 * Whether somebody else uses the embedded server. A connection lives on in the server for a moment
 * after its client has ended, ours as well: taken for somebody's, it would leave a server that nobody
 * stops. So it is waited for those of ours and of processes that are dead; one of a process that
 * lives is told at once, because that process asks the same when it leaves.
 *
 * @param owner how its owner connects
 */
export async function isUsed(owner: pg.ClientConfig): Promise<boolean> {
  for (let waited = 0; waited < LINGER_MS; waited += POLL_MS) {
    const others = await othersAt(owner);
    if (others.length === 0) return false;
    if (others.every(isOfLiving)) return true;
    await sleep(POLL_MS);
  }
  return true;
}

/** Somebody who is no program of ours, or one in another namespace, counts after a while. */
function isOfLiving(name: string): boolean {
  const [, pid, started] = USER.exec(name) ?? [];
  return pid !== undefined && name !== OWN && startTimeOf(Number(pid)) === started;
}

/** The names of all connections but those that only look. */
async function othersAt(owner: pg.ClientConfig): Promise<string[]> {
  const config = { ...owner, application_name: LOOKING, connectionTimeoutMillis: 5000 };
  const client = new pg.Client(config);
  client.on("error", () => undefined);
  try {
    await client.connect();
    const found = await client.query<{ name: string }>(
      "select application_name as name from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name <> $1",
      [LOOKING],
    );
    return found.rows.map(({ name }) => name);
  } catch {
    return [];
  } finally {
    await hangUp(client);
  }
}
