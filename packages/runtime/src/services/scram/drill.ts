import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Envelope,
  GENESIS_HASH,
  type JsonValue,
  type KillReceipt,
  type ScramEvent,
  type Signer,
  SovereignError,
  fixClass,
} from "@sovereign/core";
import {
  INSTALLATION_KEYS,
  KeyLog,
  type KeyLogEntry,
  type KeyLogStore,
  type NewKeyEvent,
  Keystore,
} from "../../authority/index.ts";
import type { DrillReport } from "./scram-reports.ts";
import { systemClock, systemEntropy, timestampOf } from "../../system/index.ts";
import { ControlGroups, identify, isAlive, type ProcessIdentity } from "../../process/index.ts";
import { openDataFolder, installationIdOf, connectScram } from "../../home/index.ts";
import {
  BOUND_MS,
  connectSandbox,
  DEATH_COSTS,
  type SandboxDemands,
  type SandboxRequest,
} from "../../sandbox/index.ts";
import {
  groupNameOf,
  ScramLatch,
  type ScramLink,
  type WorkOwner,
  writeKeyFile,
} from "../../scram/index.ts";
import { issueScramOrder, issueScramReset, type OrderContent } from "./issue-order.ts";
import { OWNED_KINDS, OWNING, type Owned } from "./owning-payloads.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const READY_MS = 180_000;
const END_MS = 3000;
const DRILL_ORDER: OrderContent = {
  scope: { kind: "all" },
  reason: "operator_initiated",
  statement: "drill",
  metadata: {},
};
/** Whose a rehearsal's paths are. */
export const DRILL: WorkOwner = { tenant_id: "drill", run_id: `run_${"d".repeat(20)}` };

/** Payloads that do what they can to live on. `$MARK` tells them from everything else. */
const QUIET = [
  `trap '' TERM INT HUP QUIT; echo ready > /out/ready; while :; do sleep $MARK; done`,
  `trap '' TERM HUP; (setsid sh -c "trap '' HUP; sleep $MARK & sleep $MARK" &); echo ready > /out/ready
   sleep $MARK`,
  `(setsid sh -c "(setsid sleep $MARK &)" &); echo ready > /out/ready; sleep $MARK`,
];
const LOUD = [
  `echo ready > /out/ready; sleep $MARK & while :; do :; done`,
  `(setsid sleep $MARK &); echo ready > /out/ready; while :; do (sleep 0.05 &); sleep 0.02; done`,
];

/** One in five is loud; these come last, so that they do not keep the others from starting. */
function payloads(count: number): string[] {
  const loud = Math.floor(count / 5);
  return Array.from({ length: count }, (_, index) => {
    const [kinds, at] = index < count - loud ? [QUIET, index] : [LOUD, index];
    return kinds[at % kinds.length] ?? "";
  });
}

/** A throw-away installation with its own sentinel and engine, in which a stop can be rehearsed. */
export class DrillRig {
  readonly home: string;
  readonly link: ScramLink;
  readonly signers: Readonly<Record<"operator" | "architect", Signer>>;
  /** In the command lines of all payloads, and of nothing else. */
  readonly mark: string;
  readonly #environment: Environment;
  readonly #running: Promise<unknown>[] = [];
  readonly #ended = new AbortController();
  #tripped = false;
  #started = 0;

  private constructor(
    home: string,
    link: ScramLink,
    signers: Readonly<Record<"operator" | "architect", Signer>>,
    environment: Environment,
  ) {
    this.home = home;
    this.link = link;
    this.signers = signers;
    this.#environment = environment;
    this.mark = `${100_000 + (Buffer.from(systemEntropy.bytes(4)).readUInt32BE() % 900_000)}.5`;
  }

  /**
   * @param environment what the sentinel is started with
   * @param parent where the throw-away data folder is made
   */
  static async open(environment: Environment = {}, parent = tmpdir()): Promise<DrillRig> {
    const home = mkdtempSync(join(parent, "sovereign-drill-"));
    const folder = openDataFolder(home);
    mkdirSync(folder.scram, { mode: 0o700 });
    const keystore = await Keystore.open({ folder: folder.keys, passphrase: null });
    const keyLog = new KeyLog(new MemoryKeyLog(), installationIdOf(home), systemClock);
    const records = await keyLog.initialise(keystore, [
      ...INSTALLATION_KEYS,
      { purpose: "operator", role: "one" },
      { purpose: "architect", role: "another" },
    ]);
    await keyLog.refresh();
    writeKeyFile(folder.scram, installationIdOf(home), keyLog.events);
    const signerOf = (purpose: string): Promise<Signer> =>
      keystore.signer(records.find((record) => record.purpose === purpose)?.key_id ?? "");
    const signers = {
      operator: await signerOf("operator"),
      architect: await signerOf("architect"),
    };
    return new DrillRig(home, await connectScram(home, environment), signers, environment);
  }

  /** Start hostile paths, and wait until each payload runs. */
  async hold(
    count: number,
    owner: WorkOwner = DRILL,
    demands: Partial<SandboxDemands> = {},
    readyMs = READY_MS,
  ): Promise<void> {
    const requests = payloads(count).map((script) => (out: string) => this.payload(script, out));
    await this.#start(requests, owner, demands, readyMs);
  }

  /**
   * Start paths of usual limits, each of which owns as much of something as it is let; until all say
   * so, or were ended because together they own too much.
   */
  async holdOwning(
    what: Owned,
    count: number,
    demands: Partial<SandboxDemands> = {},
    readyMs = READY_MS,
  ): Promise<void> {
    const request = (out: string): SandboxRequest => {
      const plain = this.payload("", out);
      const argv = ["/usr/bin/perl", "-e", OWNING[what], `drill-${this.mark}`];
      const limits = { ...plain.limits, memoryBytes: 2 * 1024 ** 3, processes: 256 };
      return { ...plain, argv, limits };
    };
    const requests = Array<typeof request>(count).fill(request);
    await this.#start(requests, DRILL, demands, readyMs, true);
  }

  /**
   * Milliseconds that it should take to free what the paths own now; null where nobody counts it.
   * What the kernel only remembers for them may be among it.
   */
  assumedMs(): number | null {
    const groups = ControlGroups.root(groupNameOf(join(this.home, "scram")));
    const kernel = groups.kernelBytes();
    if (kernel === null) return null;
    const { kernelMsPerMebibyte, memoryMsPerMebibyte } = DEATH_COSTS;
    const user = groups.userBytes(true) ?? 0;
    return (kernel * kernelMsPerMebibyte + user * memoryMsPerMebibyte) / 1024 ** 2;
  }

  async #start(
    requests: readonly ((out: string) => SandboxRequest)[],
    owner: WorkOwner,
    demands: Partial<SandboxDemands>,
    readyMs: number,
    mayEnd = false,
  ): Promise<void> {
    const gone = new Set<string>();
    let why = "";
    const count = requests.length;
    const sandbox = connectSandbox(this.link, owner, demands);
    const outputs = requests.map((request) => {
      const out = join(this.home, `out-${owner.tenant_id}-${this.#started++}`);
      mkdirSync(out);
      const ended = sandbox.run(request(out), this.#ended.signal);
      this.#running.push(
        ended
          .catch((error: unknown) => {
            why ||= error instanceof Error ? ` The first one failed: ${error.message}` : "";
            return error;
          })
          .finally(() => {
            if (mayEnd) gone.add(out);
          }),
      );
      return out;
    });
    const isReady = (out: string): boolean => gone.has(out) || readdirSync(out).includes("ready");
    for (let waited = 0; waited < readyMs; waited += 20) {
      if (outputs.every(isReady)) return;
      if (why !== "" && !mayEnd) break;
      await sleep(20);
    }
    const ready = outputs.filter((out) => readdirSync(out).length > 0).length;
    const text = `Only ${ready} of ${count} paths of the drill started.${why}`;
    throw new SovereignError("ERR_SANDBOX_UNAVAILABLE", text);
  }

  /** An order with both keys. */
  order(change: Partial<OrderContent> = {}): Envelope {
    const { operator, architect } = this.signers;
    return issueScramOrder(this.home, { ...DRILL_ORDER, ...change }, [operator, architect]);
  }

  /** Give the order, and answer what the sentinel says, with the time as seen from here. */
  async stop(): Promise<{ event: ScramEvent; body: KillReceipt; seenMs: number }> {
    const envelope = this.order() as unknown as JsonValue;
    const started = systemClock.monotonicMs();
    const answer = await this.link.request({ t: "order", envelope });
    const seenMs = systemClock.monotonicMs() - started;
    return { ...(answer as unknown as { event: ScramEvent; body: KillReceipt }), seenMs };
  }

  /**
   * Lift all stops, with both keys.
   * @param recorded false to ask for it without having it authorised first, which is refused
   */
  async reset(recorded = true): Promise<JsonValue> {
    const link = await connectScram(this.home, this.#environment);
    try {
      const { event_ids } = (await link.request({ t: "resettable" })) as { event_ids: string[] };
      const lifted = event_ids.length === 0 ? [`SCRAM-${"0".repeat(20)}`] : event_ids;
      const { operator, architect } = this.signers;
      const envelope = issueScramReset(this.home, lifted, "drill over", [operator, architect]);
      if (recorded) await link.request({ t: "reset", envelope, commit: false });
      return await link.request({ t: "reset", envelope, commit: true });
    } finally {
      link.close();
    }
  }

  /** Whether the switch was tripped when the rig was last looked at, or closed. */
  get tripped(): boolean {
    return this.#tripped;
  }

  /** Living processes with the payloads' mark: looked for without any of the sentinel's means. */
  survivors(mark = this.mark): number {
    return readdirSync("/proc").filter((pid) => {
      if (!/^\d+$/.test(pid)) return false;
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(mark);
      } catch {
        return false;
      }
    }).length;
  }

  /** End everything of the rig, its sentinel too, and remove its folder. */
  async close(): Promise<void> {
    this.#ended.abort();
    await Promise.all(this.#running);
    const sentinel = await this.#sentinel();
    this.link.close();
    if (sentinel !== null) {
      process.kill(sentinel.pid, "SIGTERM");
      for (let waited = 0; waited < END_MS && isAlive(sentinel); waited += 10) await sleep(10);
    }
    this.#tripped = !new ScramLatch(join(this.home, "scram")).preflight().armed;
    rmSync(this.home, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
  }

  async #sentinel(): Promise<ProcessIdentity | null> {
    try {
      const { pid } = (await this.link.request({ t: "status" })) as { pid: number };
      return identify(pid);
    } catch {
      return null;
    }
  }

  /** A request whose payload carries the mark, and writes to `out` as /out. */
  payload(script: string, out: string): SandboxRequest {
    return {
      // The mark is in every command line of the payload, so that a sweep finds its forks too.
      argv: ["/bin/sh", "-c", script, `drill-${this.mark}`],
      cwd: "/tmp",
      readOnly: [],
      writable: [{ source: out, target: "/out" }],
      env: { MARK: this.mark },
      limits: {
        wallMs: 600_000,
        cpuSeconds: 600,
        memoryBytes: 512 * 1024 * 1024,
        processes: 64,
        outputBytes: 64 * 1024,
        fileBytes: 1024 * 1024,
      },
    };
  }
}

/** So many own as much as they may of one kind, in a rehearsal. */
export const OWNING_PATHS = 4;

/**
 * Rehearse a stop some times, each in an installation of its own; and once for each kind of thing that
 * hostile paths own as much of as they may.
 */
export async function runDrill(input: { paths: number; trials: number }): Promise<DrillReport> {
  let survivors = 0;
  let overBound = 0;
  let level = "";
  const rehearse = async (hold: (rig: DrillRig) => Promise<void>): Promise<number | null> => {
    const rig = await DrillRig.open();
    try {
      await hold(rig);
      const { body } = await rig.stop();
      survivors += rig.survivors();
      level = body.rung;
      if (body.t_reaped_ms === null || body.t_reaped_ms > BOUND_MS) overBound += 1;
      return body.t_reaped_ms;
    } finally {
      await rig.close();
    }
  };
  const took: number[] = [];
  for (let trial = 0; trial < input.trials; trial++) {
    const ms = await rehearse((rig) => rig.hold(input.paths));
    took.push(ms ?? Number.POSITIVE_INFINITY);
  }
  const owning: DrillReport["owning"][number][] = [];
  for (const what of OWNED_KINDS) {
    const ms = await rehearse((rig) => rig.holdOwning(what, OWNING_PATHS));
    owning.push({ what, paths: OWNING_PATHS, reaped_ms: ms });
  }
  const sorted = took.sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return {
    trials: input.trials,
    paths: input.paths,
    level,
    reaped_ms: { p50: at(0.5), p99: at(0.99), max: at(1) },
    owning,
    survivors,
    over_bound: overBound,
  };
}

/** A key log that lives as long as the drill. */
class MemoryKeyLog implements KeyLogStore {
  readonly #entries: KeyLogEntry[] = [];

  constructor() {
    Object.freeze(this);
  }

  read(from: number): Promise<KeyLogEntry[]> {
    return Promise.resolve(this.#entries.slice(from));
  }

  append(_sequence: number, events: readonly NewKeyEvent[]): Promise<boolean> {
    const timestamp = timestampOf(systemClock);
    for (const event of events) this.#entries.push({ ...event, timestamp, hash: GENESIS_HASH });
    return Promise.resolve(true);
  }
}

fixClass(MemoryKeyLog);
