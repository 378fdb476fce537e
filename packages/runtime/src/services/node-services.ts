import { mkdirSync } from "node:fs";
import {
  fields,
  formats,
  INSTALLATION_LOG,
  type JsonObject,
  type LedgerEntry,
  parseCanonicalJson,
  parseFormat,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import type { Services } from "./services.ts";
import {
  openDataFolder,
  exportInstallation,
  joinInstallation,
  parseExport,
} from "../home/index.ts";
import {
  type Installation,
  type JoinedNode,
  readNodes,
  scramStreamOf,
} from "../installation/index.ts";
import { rest } from "../system/index.ts";

/** How often it is looked whether the sentinel is there. */
const ALIVE_MS = 250;

type Opened = <T>(work: (installation: Installation) => Promise<T>) => Promise<T>;

/** Machines of one installation. */
export function nodeServices(
  home: string,
  opened: Opened,
  { scramStatus }: Pick<Services, "scramStatus">,
): Pick<Services, "exportNode" | "joinNode" | "listNodes" | "watchNodes"> {
  return {
    exportNode: () =>
      opened(({ folder, keyLog }) => Promise.resolve(exportInstallation(folder.root, keyLog))),
    joinNode: (file) => {
      const found = parseExport(parseStrictJson(readNamed(file)), file);
      const folder = openDataFolder(home);
      joinInstallation(folder.root, found);
      // Where key files are copied to: nobody else's to read from the beginning.
      mkdirSync(folder.keys, { recursive: true, mode: 0o700 });
      return Promise.resolve({ installation: found.installation_id });
    },
    watchNodes: (signal, onEvent) =>
      opened(async (installation) => {
        if (!installation.store.shared) throw notShared();
        const link = await installation.guard();
        onEvent({ event: "watching", node: installation.node.id });
        let unheard = false;
        while (!signal.aborted && link.alive) {
          await rest(ALIVE_MS, signal);
          const cut = installation.cutOff();
          if (cut !== null && !unheard) onEvent({ event: "unheard", why: textOf(cut) });
          if (cut === null && unheard) onEvent({ event: "heard" });
          unheard = cut !== null;
        }
        if (signal.aborted) return;
        const text = "The sentinel went away; nothing is heard of other machines any more.";
        throw new SovereignError("ERR_SCRAM_SENTINEL_LOST", text);
      }),
    listNodes: () =>
      opened(async (installation) => {
        const { store, id, node } = installation;
        const nodes = await readNodes(store, id);
        const heard = await readJournals(installation);
        const connected = await store.connected();
        const left = (await scramStatus()).sentinel?.["lease_left_ms"];
        return nodes.map((one) => {
          const here = one.nodeId === node.id;
          const lease_left_ms = here && typeof left === "number" ? left : null;
          return { ...reportOf(one, heard, connected), here, lease_left_ms };
        });
      }),
  };
}

function notShared(): SovereignError {
  const text =
    "Expected DATABASE_URL: without it the database is this machine's alone, and there is no other machine to hear of.";
  return new SovereignError("ERR_DATABASE_URL", text);
}

function textOf(cut: unknown): string {
  return cut instanceof Error ? cut.message : String(cut);
}

interface Heard {
  last: string;
  readonly stops: Set<string>;
}

function reportOf(
  { nodeId, host, at }: JoinedNode,
  heard: ReadonlyMap<string, Heard>,
  connected: readonly string[],
): Omit<NodeReport, "here" | "lease_left_ms"> {
  const found = heard.get(scramStreamOf(nodeId));
  return {
    node_id: nodeId,
    host,
    joined_at: at,
    last_seen: found?.last ?? null,
    watching: connected.filter((name) => name === `sovereign ${nodeId}`).length,
    stops: [...(found?.stops ?? [])],
  };
}

/** What each node's kill switch recorded, as far as it was taken into the ledger. */
async function readJournals({ store }: Installation): Promise<ReadonlyMap<string, Heard>> {
  const found = new Map<string, Heard>();
  for await (const { bytes, aside } of store.readLog(INSTALLATION_LOG)) {
    if (aside === true) continue;
    const entry = parseFormat(formats.ledgerEntry, parseCanonicalJson(bytes), "ledger entry");
    if (!entry.stream.startsWith("scram/")) continue;
    const heard = found.get(entry.stream) ?? { last: "", stops: new Set<string>() };
    found.set(entry.stream, heard);
    heard.last = entry.timestamp;
    note(heard.stops, entry);
  }
  return found;
}

function note(stops: Set<string>, { event_type, data }: LedgerEntry): void {
  if (event_type === "scram.executed") {
    const { event_id } = (data["event"] ?? {}) as JsonObject;
    const parsed = fields.scramEventId.safeParse(event_id);
    if (parsed.success) stops.add(parsed.data);
  }
  if (event_type === "scram.reset" && Array.isArray(data["event_ids"])) {
    for (const id of data["event_ids"]) if (typeof id === "string") stops.delete(id);
  }
}

/** One machine of the installation, as the ledger has it. */
export interface NodeReport {
  readonly node_id: string;
  readonly host: string;
  readonly joined_at: string;
  /** When its kill switch last recorded anything. */
  readonly last_seen: string | null;
  /** How many of its controls watch the log now, as far as the database lets us see. */
  readonly watching: number;
  /** Stops that no reset has lifted there. */
  readonly stops: readonly string[];
  readonly here: boolean;
  /** How long work may go on here without word of the others; null elsewhere, and where none is needed. */
  readonly lease_left_ms: number | null;
}
