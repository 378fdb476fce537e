import type { KeyLog } from "../authority/index.ts";
import type { Clock } from "../system/index.ts";
import { type DataFolder, type Config, noteRefusal, connectScram } from "../home/index.ts";
import type { Journal, ScramLink } from "../scram/index.ts";
import type { Store } from "../store/index.ts";
import { AnchorDuty, anchorInstallation } from "./nodes/journal-anchor.ts";
import { NodeWatch } from "./nodes/order-watch.ts";
import type { SovereignNode } from "./nodes/membership.ts";
import { OwnStream } from "./nodes/own-stream.ts";
import { PlaceFile } from "./nodes/read-position.ts";

/** How long the server has to answer: what comes later than a lease lasts renews none. */
const ANSWER_MS_MIN = 1000;
const ANSWER_MS_MAX = 5000;

/** The parts of an installation that a guard works with. */
interface Guarded {
  readonly folder: DataFolder;
  readonly store: Store;
  readonly node: SovereignNode;
  readonly keyLog: KeyLog;
  readonly clock: Clock;
  readonly config: Config;
  readonly journal: Journal;
  publishKeys(): void;
}

/** A control's connection to its sentinel, and its watch over the other nodes. */
export interface Guard {
  readonly link: ScramLink;
  /** Why no work runs because the other nodes' orders cannot be read; null where that is not why. */
  cutOff(): unknown;
  close(): Promise<void>;
}

/** With a shared database, what other nodes ordered is in force here before this resolves. */
export async function openGuard(
  installation: Guarded,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Guard> {
  const { folder, store } = installation;
  store.relax();
  const link = await connectScram(folder.root, environment);
  const duty = new AnchorDuty(
    () => anchorInstallation(installation, true),
    (error) => {
      noteRefusal(folder.root, error);
    },
  );
  link.onRecorded = () => {
    duty.want();
  };
  const watch = store.shared ? watchNodes(installation, link, duty) : null;
  const close = async (): Promise<void> => {
    await watch?.close();
    await duty.settled();
    link.close();
  };
  try {
    await watch?.start();
  } catch (error) {
    await close();
    throw error;
  }
  const cutOff = (): unknown => {
    const gate = link.preflight();
    return gate.armed || gate.code !== "ERR_SCRAM_LEASE" ? null : (watch?.failure ?? gate.reason);
  };
  return { link, cutOff, close };
}

function watchNodes(installation: Guarded, link: ScramLink, duty: AnchorDuty): NodeWatch {
  const { clock, config, folder, keyLog, node, store } = installation;
  const { lease_ms: leaseMs } = config.scram;
  const places = new PlaceFile(folder.ledger, installation.journal);
  const own = new OwnStream(installation, places.readHeld());
  const answerMs = Math.min(ANSWER_MS_MAX, Math.max(ANSWER_MS_MIN, leaseMs ?? ANSWER_MS_MAX));
  return new NodeWatch({
    node,
    link,
    clock,
    leaseMs,
    feed: (onNews) => store.feed({ name: `sovereign ${node.id}`, answerMs, onNews }),
    place: places.read(),
    own,
    keep: (place) => {
      places.write(place, own.held);
    },
    onRefused: (error) => {
      noteRefusal(folder.root, error);
    },
    onKeys: async () => {
      await keyLog.refresh();
      installation.publishKeys();
    },
    onRead: () => {
      duty.retry();
    },
  });
}
