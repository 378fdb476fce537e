import { join } from "node:path";
import {
  base64Decode,
  type Envelope,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  parseEnvelope,
  parseStatement,
  parseStrictJson,
  type Signer,
  SovereignError,
} from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import type { Passphrase } from "../../authority/index.ts";
import type { ScramOutcome, ScramRemote, ScramReport, SelfProofHealth } from "./scram-reports.ts";
import type { Services } from "../services.ts";
import { connectScram, openSwitchFolder, Settings } from "../../home/index.ts";
import {
  countLiving,
  giveOrder,
  Journal,
  mergeSignatures,
  offlineStatus,
  readKeyFile,
  ScramLatch,
  ScramLink,
} from "../../scram/index.ts";
import { runDrill } from "./drill.ts";
import { findSigner } from "./find-signer.ts";
import {
  type Installation,
  anchorInstallation,
  leaseHealth,
  leaseOfSentinel,
} from "../../installation/index.ts";
import { repairScram } from "./repair-journal.ts";
import { issueScramOrder, issueScramReset, signScramOrder } from "./issue-order.ts";
import type { RemoteScram } from "./remote-switch.ts";
import { stopByCall } from "./stop-by-call.ts";

type Environment = Readonly<Record<string, string | undefined>>;
type Opened = <T>(work: (installation: Installation) => Promise<T>) => Promise<T>;

type ScramServices = Pick<
  Services,
  | "scramStatus"
  | "scramActivate"
  | "scramSpread"
  | "scramAuthorize"
  | "scramPrepare"
  | "scramReset"
  | "scramRepair"
  | "scramKeys"
  | "scramLog"
  | "scramDrill"
  | "scramServe"
>;

/** The kill switch. A stop needs no database; a reset does. */
export function createScramServices(
  home: string,
  environment: Environment,
  passphrase: () => Passphrase | null,
  opened: Opened,
): ScramServices {
  const folder = (): string => openSwitchFolder(home).scram;
  const sign = async (reference: string, purpose: "operator" | "architect"): Promise<Signer> =>
    findSigner(home, passphrase(), reference, purpose);
  return {
    scramStatus: () => readStatus(home, folder()),
    scramKeys: () => {
      const known = readKeyFile(folder(), null);
      const wanted = ["operator", "architect", "sentinel"];
      return Promise.resolve(
        (known?.keys.windows ?? []).filter(({ record }) => wanted.includes(record.purpose)),
      );
    },
    scramActivate: async (input) => {
      const remote = await remoteOf(home, input.remote);
      const signers = (): Promise<Signer[]> =>
        Promise.all([sign(input.operatorKey, "operator"), sign(input.architectKey, "architect")]);
      if (input.order !== null) {
        const prepared = readEnvelopeFile(input.order);
        return remote?.send(prepared) ?? send(home, environment, "order", prepared);
      }
      if (remote !== null) return remote.send(remote.issue(input, await signers()));
      const envelope = issueScramOrder(home, input, await signers());
      return send(home, environment, "order", envelope);
    },
    scramPrepare: async (input) =>
      issueScramOrder(
        home,
        input,
        [await sign(input.operatorKey, "operator"), await sign(input.architectKey, "architect")],
        input.validMs,
      ),
    scramAuthorize: async (input) => {
      const remote = await remoteOf(home, input.remote);
      return remote === null
        ? authorize(home, environment, sign, input)
        : remote.authorize(input, await sign(input.key, input.as));
    },
    scramServe: async (input) => {
      const { serveScram } = await import("./serve.ts");
      await serveScram(home, environment, () => opened(() => Promise.resolve()), input);
    },
    scramSpread: async () => {
      if (Settings.of(home, environment).switchDatabaseUrl === null) return null;
      // Whoever opens an installation takes its journal into the ledger.
      const replicated = await opened(({ store }) => store.replicated());
      return replicated ? "replicated" : "primary";
    },
    scramReset: (input) => reset(home, environment, sign, opened, input),
    scramRepair: () => repairScram(home, environment),
    scramDrill: (input) => runDrill(input),
    scramLog: () => Promise.resolve(Journal.open(join(folder(), "journal.jsonl")).lines),
  };
}

async function readStatus(home: string, folder: string): Promise<ScramReport> {
  const link = await ScramLink.find(folder);
  // What nobody answers for is looked at.
  const unanswered = (): ScramReport => ({
    ...offlineStatus(folder, signalOf(home)),
    sentinel: null,
    living: countLiving(folder),
    lease: leaseHealth(home, null),
  });
  if (link === null) return unanswered();
  try {
    return reportOf(await link.request({ t: "status" }));
  } catch (error) {
    if (isSovereignError(error, "ERR_SCRAM_SENTINEL_LOST")) return unanswered();
    throw error;
  } finally {
    link.close();
  }
}

/** The signal file's name; a configuration that cannot be read is told elsewhere. */
function signalOf(home: string): string | undefined {
  try {
    return Settings.of(home, {}).config.scram.sentinel_path;
  } catch {
    return undefined;
  }
}

function reportOf(status: JsonValue): ScramReport {
  const { state, stops, readable, self_proof, ...sentinel } = status as unknown as ScramReport & {
    self_proof: SelfProofHealth;
  } & JsonObject;
  const lease = leaseOfSentinel(sentinel);
  return { state, stops, readable, trouble: null, sentinel, lease, selfProof: self_proof };
}

/** Loaded where it is used: Node's HTTP takes long to load, and most commands call nobody. */
async function remoteOf(home: string, remote: ScramRemote | null): Promise<RemoteScram | null> {
  if (remote === null) return null;
  const { RemoteScram } = await import("./remote-switch.ts");
  return new RemoteScram(home, remote);
}

async function send(
  home: string,
  environment: Environment,
  t: "order" | "authorize",
  envelope: Envelope,
): Promise<ScramOutcome> {
  const { scram } = openSwitchFolder(home);
  new ScramLatch(scram);
  const running = await ScramLink.find(scram);
  // A stop needs nobody to be in force; one of two signatures waits in a sentinel's memory.
  if (running === null && t === "order") return stopByCall(home, environment, envelope);
  const link = running ?? (await connectScram(home, environment));
  try {
    return await giveOrder(link, t, envelope);
  } finally {
    link.close();
  }
}

/** The first of two signs an order of its own; the second signs the order that waits. */
async function authorize(
  home: string,
  environment: Environment,
  sign: (reference: string, purpose: "operator" | "architect") => Promise<Signer>,
  input: Parameters<Services["scramAuthorize"]>[0],
): Promise<ScramOutcome> {
  const signer = await sign(input.key, input.as);
  const link = await connectScram(home, environment);
  let waiting: Envelope | null;
  try {
    const answer = (await link.request({ t: "pending" })) as JsonObject;
    waiting = answer["envelope"] === null ? null : parseEnvelope(answer["envelope"]);
  } finally {
    link.close();
  }
  if (waiting === null) {
    return send(home, environment, "authorize", issueScramOrder(home, input, [signer]));
  }
  const order = parseStatement(base64Decode(waiting.payload), "scram-order").predicate;
  const mine = signScramOrder(order, [signer]);
  return send(home, environment, "authorize", mergeSignatures(waiting, mine) ?? mine);
}

function isDamaged(home: string): boolean {
  try {
    Journal.open(join(openSwitchFolder(home).scram, "journal.jsonl"));
    return false;
  } catch {
    return true;
  }
}

/** Authorised and recorded in the ledger first; only then is the latch lifted. */
async function reset(
  home: string,
  environment: Environment,
  sign: (reference: string, purpose: "operator" | "architect") => Promise<Signer>,
  opened: Opened,
  input: Parameters<Services["scramReset"]>[0],
): Promise<ScramReport> {
  const signers = [
    await sign(input.operatorKey, "operator"),
    await sign(input.architectKey, "architect"),
  ];
  // Two people ask for it, with a reason: what must be whole for it is made whole first.
  if (isDamaged(home)) await repairScram(home, environment);
  const link = await connectScram(home, environment);
  try {
    const before = (await link.request({ t: "resettable" })) as { event_ids: string[] };
    if (before.event_ids.length === 0) {
      throw new SovereignError("ERR_SCRAM_NOT_TRIPPED", "The kill switch is not tripped.");
    }
    const envelope = issueScramReset(home, before.event_ids, input.statement, signers);
    await link.request({ t: "reset", envelope, commit: false });
    await opened((installation) => anchorInstallation(installation));
    const after = await link.request({ t: "reset", envelope, commit: true });
    await opened((installation) => anchorInstallation(installation));
    return reportOf(after);
  } finally {
    link.close();
  }
}

function readEnvelopeFile(path: string): Envelope {
  try {
    return parseEnvelope(parseStrictJson(readNamed(path)));
  } catch (cause) {
    if (isSovereignError(cause, "ERR_FILE_UNREADABLE")) throw cause;
    const why = cause instanceof Error ? cause.message : "unreadable";
    throw new SovereignError("ERR_SCRAM_ORDER_MALFORMED", `${path}: ${why}`, { path }, cause);
  }
}
