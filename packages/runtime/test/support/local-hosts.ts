import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { JsonObject } from "@sovereign/core";
import { EgressDesk, type EgressDoor, EgressProcess } from "../../src/agents/index.ts";
import type { LedgerRecord, PolicyDecider, Recorder } from "../../src/kernel/index.ts";
import { ScramLatch } from "../../src/scram/index.ts";
import { systemEntropy } from "../../src/system/index.ts";
import { certify } from "./certificate.ts";

const PROGRAM = fileURLToPath(new URL("./egress-program.ts", import.meta.url));

/** What a world's steps are decided and recorded by. */
export interface HostsWorld {
  readonly policy: PolicyDecider;
  readonly recorder: Recorder & { readonly records: readonly LedgerRecord[] };
}

/** A host of TLS on this machine, and the real egress proxy's process on the way to it. */
export class LocalHosts {
  readonly home = mkdtempSync(join(tmpdir(), "hosts-"));
  /** Of each connection that came: how many entries stood in the record then. */
  readonly recordedBefore: number[] = [];
  /** The names that clients asked for. */
  readonly names: (string | false | null)[] = [];
  readonly #server: Server;
  proxy: EgressProcess | null = null;
  #records: readonly LedgerRecord[] = [];

  private constructor(server: Server) {
    this.#server = server;
    mkdirSync(join(this.home, "scram"), { mode: 0o700 });
    server.on("tlsClientError", () => undefined);
    server.on("connection", () => this.recordedBefore.push(this.#records.length));
    server.on("secureConnection", (socket: TLSSocket) => {
      this.names.push(socket.servername);
      socket.on("error", () => undefined);
      socket.on("data", (said: Buffer) => {
        const asked = said.toString("latin1");
        const length = "content-length: 5\r\nconnection: close";
        // What never ends keeps its connection.
        if (asked.startsWith("GET /wait")) socket.write("HTTP/1.1 200 OK\r\n\r\n");
        else socket.end(`HTTP/1.1 200 OK\r\n${length}\r\n\r\nhello`);
      });
    });
  }

  static async start(): Promise<LocalHosts> {
    const { certPem: cert, keyPem: key } = certify("hosts", null);
    const hosts = new LocalHosts(createServer({ cert, key }));
    hosts.#server.listen(0, "127.0.0.1");
    await once(hosts.#server, "listening");
    return hosts;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The way to it, recorded by a world. */
  door({ policy, recorder }: HostsWorld): EgressDoor {
    this.#records = recorder.records;
    const record = async (event: string, severity: LedgerRecord["severity"], data: JsonObject) => {
      const rest = { envelopes: [], nonces: [], keyEpoch: null };
      await recorder.record("", { event, severity, data, ...rest });
    };
    return {
      open: async (socket, context) => {
        const scram = new ScramLatch(join(this.home, "scram"));
        const desk = await EgressDesk.open(
          { context, policy, scram, record, entropy: systemEntropy },
          null,
        );
        const proxy = await EgressProcess.start({
          command: [process.execPath, "--disable-warning=ExperimentalWarning", PROGRAM],
          home: this.home,
          socket,
          owner: context,
          desk,
          entropy: systemEntropy,
        });
        this.proxy = proxy;
        return {
          token: proxy.token,
          refused: () => desk.lastRefused,
          close: () => proxy.close(),
        };
      },
    };
  }

  trip(): void {
    new ScramLatch(join(this.home, "scram")).trip({
      event_id: "SCRAM-20261128220000000000",
      scope: { kind: "all" },
      reason: "operator_initiated",
      tripped_at: "2026-11-28T22:00:00.000Z",
    });
  }

  close(): void {
    this.#server.close();
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** The data of all entries of one event. */
export function dataOf(records: readonly LedgerRecord[], event: string): JsonObject[] {
  return records.filter((one) => one.event === event).map(({ data }) => data);
}
