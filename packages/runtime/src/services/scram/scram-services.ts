import { join } from "node:path";
import {
  base64Decode,
  type Envelope,
  isSovereignError,
  type JsonObject,
  parseEnvelope,
  parseStatement,
  parseStrictJson,
  type Signer,
  SovereignError,
} from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import type { Passphrase } from "../../authority/index.ts";
import type { ScramOutcome, ScramRemote } from "./scram-reports.ts";
import type { Opened } from "../opened.ts";
import type { Services } from "../services.ts";
import { connectScram, openSwitchFolder, Settings } from "../../home/index.ts";
import {
  giveOrder,
  Journal,
  mendSwitchFolder,
  mergeSignatures,
  readKeyFile,
  ScramLink,
} from "../../scram/index.ts";
import { runDrill } from "./drill.ts";
import { findSigner } from "./find-signer.ts";
import { readStatus } from "./read-status.ts";
import { repairScram } from "./repair-journal.ts";
import { resetScram } from "./reset-switch.ts";
import { issueScramOrder, signScramOrder } from "./issue-order.ts";
import type { RemoteScram } from "./remote-switch.ts";
import { stopByCall } from "./stop-by-call.ts";

type Environment = Readonly<Record<string, string | undefined>>;

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
    scramStatus: async () => readStatus(home, folder()),
    scramKeys: () => {
      const known = readKeyFile(folder(), null);
      const wanted = ["operator", "architect", "sentinel"];
      return Promise.resolve(
        (known?.keys.windows ?? []).filter(({ record }) => wanted.includes(record.purpose)),
      );
    },
    scramActivate: async (input) => {
      const remote = await remoteOf(home, input.remote);
      if (remote === null) mendSwitchFolder(join(home, "scram"));
      const signers = (): Promise<Signer[]> =>
        Promise.all([
          sign(input.operatorKey, "operator"),
          sign(input.architectKey, "architect"),
        ]).catch((error: unknown) => {
          throw remote === null ? withoutKeys(error) : error;
        });
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
    scramReset: (input) => resetScram(home, environment, sign, opened, input),
    scramRepair: () => repairScram(home, environment),
    scramDrill: (input) => runDrill(input),
    scramLog: () => Promise.resolve(Journal.open(join(folder(), "journal.jsonl")).lines),
  };
}

/** Whoever wants to stop is told how to, whatever is wrong with the keys. */
function withoutKeys(error: unknown): unknown {
  if (!isSovereignError(error)) return error;
  const text = `Nothing was stopped. To stop everything now, without keys, type: scram. Why the keys cannot sign: ${error.message}`;
  return new SovereignError(error.code, text, {}, error);
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
  mendSwitchFolder(scram);
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
  mendSwitchFolder(openSwitchFolder(home).scram);
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

function readEnvelopeFile(path: string): Envelope {
  try {
    return parseEnvelope(parseStrictJson(readNamed(path)));
  } catch (cause) {
    if (isSovereignError(cause, "ERR_FILE_UNREADABLE")) throw cause;
    const why = cause instanceof Error ? cause.message : "unreadable";
    throw new SovereignError("ERR_SCRAM_ORDER_MALFORMED", `${path}: ${why}`, { path }, cause);
  }
}
