import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** Where the connection of one commit is cut, or falls silent. */
export type Fault =
  | "before it is sent"
  | "half sent"
  | "once it is sent"
  | "as it arrives late"
  | "before the answer"
  | "amid the answer"
  | "silence before it is sent"
  | "silence instead of the answer";

/** The protocol's message Sync, with which each of our calls ends. */
const SYNC = Buffer.from([0x53, 0, 0, 0, 4]);
/** Its message ReadyForQuery: it is done with a call. */
const READY = Buffer.from([0x5a, 0, 0, 0, 5]);

/** Stands between the store and its server, and does one fault to the next commit that passes. */
export class FaultyProxy {
  readonly #server: Server;
  readonly #upstream: { readonly path: string };
  readonly #sockets = new Set<Socket>();
  #fault: Fault | null = null;
  #held: (() => Promise<void>) | null = null;
  /** How often a fault was done. */
  done = 0;

  private constructor(upstream: { readonly path: string }) {
    this.#upstream = upstream;
    this.#server = createServer((client) => {
      this.#pass(client);
    });
  }

  /** @param path the server's Unix socket */
  static async start(path: string): Promise<FaultyProxy> {
    const proxy = new FaultyProxy({ path });
    await new Promise<void>((ready) => proxy.#server.listen(0, "127.0.0.1", ready));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Do this to the next commit. */
  arm(fault: Fault): void {
    this.#fault = fault;
  }

  /** Deliver the commit that was held back, and wait for the server's answer to it. */
  async deliver(): Promise<void> {
    await this.#held?.();
    this.#held = null;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((closed) => this.#server.close(closed));
  }

  #pass(client: Socket): void {
    const server = connect(this.#upstream);
    const ends = (): void => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
    }
    client.on("close", () => server.end());
    server.on("close", () => client.end());
    /** The commit's bytes so far, once its beginning was seen. */
    let commit: Buffer | null = null;
    /** What is done to it. Another connection's commit, that comes meanwhile, is let through. */
    let chosen: Fault | null = null;
    let answering: Fault | null = null;
    client.on("data", (chunk) => {
      if (commit === null) {
        if (this.#fault === null || !chunk.includes("commit_batch")) {
          server.write(chunk);
          return;
        }
        [chosen, this.#fault] = [this.#fault, null];
      }
      commit = Buffer.concat([commit ?? Buffer.alloc(0), chunk]);
      if (!commit.subarray(-SYNC.length).equals(SYNC)) return;
      const fault = chosen as Fault;
      const whole = commit;
      [commit, answering] = [null, fault];
      this.done += 1;
      this.#send(fault, whole, client, server, ends);
    });
    server.on("data", (chunk) => {
      if (answering === "before the answer") ends();
      else if (answering === "amid the answer") {
        client.write(chunk.subarray(0, chunk.length / 2), ends);
      } else if (answering === null) client.write(chunk);
    });
  }

  #send(fault: Fault, whole: Buffer, client: Socket, server: Socket, ends: () => void): void {
    switch (fault) {
      case "before it is sent":
        ends();
        return;
      case "half sent":
        server.write(whole.subarray(0, whole.length / 2), ends);
        return;
      case "once it is sent":
        server.write(whole, () => client.destroy());
        return;
      case "as it arrives late":
        client.removeAllListeners("close");
        client.destroy();
        this.#held = () =>
          new Promise((answered) => {
            server.on("data", (chunk) => {
              if (chunk.includes(READY)) answered();
            });
            server.write(whole);
          });
        return;
      case "silence before it is sent":
        return;
      case "before the answer":
      case "amid the answer":
      case "silence instead of the answer":
        server.write(whole);
    }
  }
}
