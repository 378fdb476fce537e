import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** AuthenticationOk, and ReadyForQuery. */
const WELCOME = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]);

/** A server that accepts every connection, and says nothing; or lets people in first. */
export class SilentServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(welcomes: boolean) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.once("data", () => welcomes && socket.write(WELCOME));
      // Read on, so that an end is seen, and never answer it.
      socket.allowHalfOpen = true;
      socket.resume();
    });
  }

  static async start({ welcomes }: { readonly welcomes: boolean }): Promise<SilentServer> {
    const silent = new SilentServer(welcomes);
    await new Promise<void>((ready) => silent.#server.listen(0, "127.0.0.1", ready));
    return silent;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** How many are connected now. */
  get connections(): number {
    return this.#sockets.size;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((closed) => this.#server.close(closed));
  }
}
