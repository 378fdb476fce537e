import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject, JsonValue, KillReceipt, ScramEvent, Signer } from "@sovereign/core";
import { INSTALLATION_KEYS } from "../../src/authority/index.ts";
import { systemEntropy } from "../../src/system/index.ts";
import { exportInstallation, joinInstallation } from "../../src/home/installation-file.ts";
import { type Installation, openInstallation } from "../../src/installation/installation.ts";
import {
  issueScramOrder,
  issueScramReset,
  type OrderContent,
} from "../../src/services/scram/issue-order.ts";
import { openDataFolder } from "../../src/home/index.ts";
import {
  connectSandbox,
  type SandboxRequest,
  type SandboxResult,
} from "../../src/sandbox/index.ts";
import {
  Journal,
  type JournalLine,
  ScramLatch,
  type ScramLink,
  type WorkOwner,
} from "../../src/scram/index.ts";
import { journalFaults } from "./event-schemas.ts";
import { CuttableProxy } from "./cuttable-proxy.ts";
import { type PostgresServer, startPostgres } from "./postgres-server.ts";

export const ACME: WorkOwner = { tenant_id: "acme", run_id: `run_${"a".repeat(20)}` };
export const OTHER: WorkOwner = { tenant_id: "other", run_id: `run_${"b".repeat(20)}` };
const ENVIRONMENT = { PATH: process.env["PATH"] };
const ORDER: OrderContent = {
  scope: { kind: "all" },
  reason: "security_breach",
  statement: null,
  metadata: {},
};
const PATIENCE_MS = 60_000;

/** One machine of the installation: a data folder, its sentinel, and its way to the database. */
export class TestNode {
  readonly home: string;
  readonly proxy: CuttableProxy;
  /** In the command lines of its payloads, and of nothing else. */
  readonly mark = `${100_000 + (Buffer.from(systemEntropy.bytes(4)).readUInt32BE() % 900_000)}.5`;
  readonly url: string;
  #installation: Installation | null = null;
  readonly #running: Promise<unknown>[] = [];

  constructor(home: string, proxy: CuttableProxy, url: string) {
    this.home = home;
    this.proxy = proxy;
    this.url = url;
  }

  get installation(): Installation {
    if (this.#installation === null) throw new Error("the node is off");
    return this.#installation;
  }

  async on(): Promise<Installation> {
    this.#installation ??= await openInstallation({
      home: this.home,
      databaseUrl: this.url,
      passphrase: null,
      environment: ENVIRONMENT,
    });
    return this.#installation;
  }

  async off(): Promise<void> {
    const open = this.#installation;
    this.#installation = null;
    await open?.close();
    await Promise.all(this.#running.splice(0));
  }

  link(): Promise<ScramLink> {
    return this.installation.guard();
  }

  /** Start a path that lives until it is killed; resolves when its payload runs. */
  async hold(owner: WorkOwner): Promise<{ readonly ended: Promise<SandboxResult> }> {
    const out = mkdtempSync(join(this.home, "out-"));
    const script = `trap '' TERM HUP; echo ready > /out/ready; while :; do sleep ${this.mark}; done`;
    const ended = this.run(owner, script, out);
    this.#running.push(ended.catch(() => undefined));
    await until("the payload runs", () => readdirSync(out).includes("ready"), ended);
    return { ended };
  }

  /** Run a script to its end. */
  async run(owner: WorkOwner, script: string, out: string | null = null): Promise<SandboxResult> {
    const link = await this.link();
    const sandbox = connectSandbox(link, owner);
    return sandbox.run(request(script, this.mark, out), new AbortController().signal);
  }

  get latched(): boolean {
    return !new ScramLatch(join(this.home, "scram")).preflight(null).armed;
  }

  get journal(): readonly JournalLine[] {
    return Journal.open(join(this.home, "scram", "journal.jsonl")).lines;
  }

  lines(event: string): JsonObject[] {
    return this.journal.filter((line) => line.event === event).map(({ data }) => data);
  }

  /** Living processes of its payloads: looked for without any of the sentinel's means. */
  get survivors(): number {
    return processes().filter(({ words }) => words.includes(this.mark)).length;
  }

  /** The same, without a control that was started with the mark. */
  get payloads(): number {
    return processes().filter(({ words }) => words.includes(`drill-${this.mark}`)).length;
  }
}

/** Machines of one installation on one PostgreSQL. */
export class NodeRig {
  readonly server: PostgresServer;
  readonly nodes: TestNode[] = [];
  readonly folder: string;

  private constructor(folder: string, server: PostgresServer) {
    this.folder = folder;
    this.server = server;
  }

  /** @param config of every node's kill switch, as in `config.yaml` */
  static async open(count: number, config = "{}"): Promise<NodeRig> {
    const folder = mkdtempSync(join(tmpdir(), "sov-nodes-"));
    mkdirSync(join(folder, "server"));
    const rig = new NodeRig(folder, await startPostgres(join(folder, "server")));
    try {
      for (let at = 0; at < count; at++) await rig.add(config);
    } catch (error) {
      await rig.close();
      throw error;
    }
    return rig;
  }

  /** The first one makes the installation and its keys, the others join it. */
  async add(config = "{}", database = this.server.url): Promise<TestNode> {
    const home = join(this.folder, `node-${this.nodes.length}`);
    const { port } = new URL(database);
    const proxy = await CuttableProxy.start(Number(port));
    const url = database.replace(`:${port}/`, `:${proxy.port}/`);
    const node = new TestNode(home, proxy, url);
    openDataFolder(home);
    writeFileSync(join(home, "config.yaml"), `scram: ${config}\n`);
    const [first] = this.nodes;
    if (first !== undefined) {
      const { folder, keyLog } = first.installation;
      joinInstallation(home, exportInstallation(folder.root, keyLog));
      cpSync(join(first.home, "keys"), join(home, "keys"), { recursive: true });
      chmodSync(join(home, "keys"), 0o700);
    }
    const { keyLog, keystore } = await node.on();
    if (first === undefined) {
      const slots = ["operator", "architect"] as const;
      await keyLog.initialise(keystore, [
        ...INSTALLATION_KEYS,
        ...slots.map((purpose) => ({ purpose, role: `drill.${purpose}` })),
      ]);
    }
    this.nodes.push(node);
    return node;
  }

  async signers(): Promise<[Signer, Signer]> {
    const { keystore, keyLog } = (this.nodes[0] as TestNode).installation;
    const signer = (purpose: string): Promise<Signer> => {
      const window = keyLog.current().windows.find(({ record }) => record.purpose === purpose);
      return keystore.signer(window?.record.key_id ?? "");
    };
    return [await signer("operator"), await signer("architect")];
  }

  /** An order with both keys, as a JSON value. */
  async order(
    change: Partial<OrderContent> = {},
    signers?: readonly Signer[],
    validMs?: number,
  ): Promise<JsonValue> {
    const { home } = this.nodes[0] as TestNode;
    const used = signers ?? (await this.signers());
    return issueScramOrder(home, { ...ORDER, ...change }, used, validMs);
  }

  /** Give an order on a node. */
  async stop(
    node: TestNode,
    change: Partial<OrderContent> = {},
  ): Promise<{ event: ScramEvent; body: KillReceipt }> {
    const link = await node.link();
    const answer = await link.request({ t: "order", envelope: await this.order(change) });
    return answer as unknown as { event: ScramEvent; body: KillReceipt };
  }

  /** Lift all stops of a node, with both keys. */
  async reset(node: TestNode): Promise<JsonValue> {
    const link = await node.link();
    const { event_ids } = (await link.request({ t: "resettable" })) as { event_ids: string[] };
    const envelope = issueScramReset(node.home, event_ids, "looked into", await this.signers());
    await link.request({ t: "reset", envelope, commit: false });
    return link.request({ t: "reset", envelope, commit: true });
  }

  async close(): Promise<void> {
    for (const { proxy } of this.nodes) proxy.heal();
    for (const node of this.nodes) await node.off();
    for (const { proxy } of this.nodes) await proxy.close();
    await this.server.stop();
    // The sentinels would wait for another control a while, and write until they end.
    for (const { pid, words } of this.#processes()) if (words.includes("/sentinel.")) end(pid);
    await until("the sentinels end", () => this.#processes().length === 0);
    const faults = this.nodes.flatMap(({ home }) => journalFaults(home));
    await rm(this.folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
    if (faults.length > 0) throw new Error(`not of the published schema: ${faults.join("; ")}`);
  }

  /** Those that name a node's folder: sentinels and engines. */
  #processes(): ProcessLine[] {
    return processes().filter(({ words }) => words.includes(this.folder));
  }
}

/** Wait for a condition, however loaded the machine is. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  unless?: Promise<unknown>,
): Promise<void> {
  const failures: unknown[] = [];
  unless?.catch((error: unknown) => failures.push(error));
  for (let waited = 0; waited < PATIENCE_MS; waited += 10) {
    if (await holds()) return;
    if (failures.length > 0) throw failures[0];
    await sleep(10);
  }
  throw new Error(`in vain: ${what}`);
}

function request(script: string, mark: string, out: string | null): SandboxRequest {
  return {
    argv: ["/bin/sh", "-c", script, `drill-${mark}`],
    cwd: "/tmp",
    readOnly: [],
    writable: out === null ? [] : [{ source: out, target: "/out" }],
    env: {},
    limits: {
      wallMs: 600_000,
      cpuSeconds: 600,
      memoryBytes: 256 * 1024 * 1024,
      processes: 16,
      outputBytes: 10_000,
      fileBytes: 10_000,
    },
  };
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch {
    // It has ended by itself.
  }
}

interface ProcessLine {
  readonly pid: number;
  readonly words: string;
}

function processes(): ProcessLine[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      return [{ pid: Number(name), words: readFileSync(`/proc/${name}/cmdline`, "utf8") }];
    } catch {
      return [];
    }
  });
}
