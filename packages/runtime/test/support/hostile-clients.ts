import { connect, createServer, type Socket } from "node:net";
import { once } from "node:events";
import { connect as connectTls } from "node:tls";

/** The bytes with which a client of TLS begins, for those who say no more. */
export async function clientHello(): Promise<Buffer> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const client = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false });
  client.on("error", () => undefined);
  const [socket] = (await once(server, "connection")) as [Socket];
  const [hello] = (await once(socket, "data")) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}

/** So many connections that send the same bytes and stop there; each comes again when it is cut off. */
export class HostileClients {
  readonly #sockets = new Set<Socket>();
  #over = false;

  /** @param addresses from how many addresses of this machine they come; 0 for a local socket's */
  constructor(
    place: { readonly port: number } | { readonly path: string },
    bytes: Uint8Array,
    count: number,
    addresses: number,
  ) {
    const send = (index: number): void => {
      if (this.#over) return;
      const from = addresses === 0 ? {} : { localAddress: `127.0.0.${2 + (index % addresses)}` };
      const host = "port" in place ? { host: "127.0.0.1" } : {};
      const socket = connect({ ...place, ...host, ...from });
      this.#sockets.add(socket);
      socket.on("error", () => undefined).resume();
      socket.on("close", () => {
        this.#sockets.delete(socket);
        setTimeout(send, 5, index);
      });
      socket.write(bytes);
    };
    for (let index = 0; index < count; index++) send(index);
  }

  end(): void {
    this.#over = true;
    for (const socket of this.#sockets) socket.destroy();
  }
}
