import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** Stands between one node and its database, and takes the connection away as a network does. */
export class CuttableProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cut: "no" | "refused" | "silent" = "no";

  private constructor(port: number) {
    this.#server = createServer((client) => {
      this.#sockets.add(client);
      client.on("error", () => undefined);
      if (this.#cut === "refused") client.destroy();
      if (this.#cut !== "no") return;
      const server = connect(port, "127.0.0.1");
      this.#sockets.add(server);
      server.on("error", () => undefined);
      client.on("data", (chunk) => this.#cut !== "silent" && server.write(chunk));
      server.on("data", (chunk) => this.#cut !== "silent" && client.write(chunk));
      client.on("close", () => server.destroy());
      server.on("close", () => client.destroy());
    });
  }

  /** @param port the server's @param address where it is reached instead */
  static async start(port: number, address = "127.0.0.1"): Promise<CuttableProxy> {
    const proxy = new CuttableProxy(port);
    await new Promise<void>((ready) => proxy.#server.listen(0, address, ready));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `refused` ends every connection and each new one; `silent` only lets nothing through any more. */
  cut(how: "refused" | "silent"): void {
    this.#cut = how;
    if (how === "refused") this.#drop();
  }

  heal(): void {
    this.#cut = "no";
    // What fell silent has lost bytes: it is of no use any more.
    this.#drop();
  }

  async close(): Promise<void> {
    this.#drop();
    await new Promise((closed) => this.#server.close(closed));
  }

  #drop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }
}
