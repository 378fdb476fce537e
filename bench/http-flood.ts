import { parentPort, workerData } from "node:worker_threads";
import { connect, type Socket } from "node:net";
import { HostileClients } from "../packages/runtime/test/support/hostile-clients.ts";

/** What a thread of hostile connections does until it is told to end. */
export type Flood =
  /** Whole requests without a pause, each from an address of its own. */
  | {
      readonly kind: "requests";
      readonly port: number;
      readonly bodies: readonly string[];
      readonly connections: number;
    }
  /** Connections that send some bytes and stop there. */
  | {
      readonly kind: "halves";
      readonly each: readonly {
        readonly place: { readonly port: number } | { readonly path: string };
        readonly bytes: Uint8Array;
        readonly connections: number;
        readonly addresses: number;
      }[];
    };

const flood = workerData as Flood;
const sockets = new Set<Socket>();
const begun = performance.now();
let over = false;
let refused = 0;
const clients =
  flood.kind === "halves"
    ? flood.each.map(
        ({ place, bytes, connections, addresses }) =>
          new HostileClients(place, bytes, connections, addresses),
      )
    : [];

if (flood.kind === "requests") {
  for (let index = 0; index < flood.connections; index++) send(flood.port, flood.bodies, index);
}
parentPort?.once("message", () => {
  over = true;
  for (const socket of sockets) socket.destroy();
  for (const one of clients) one.end();
  parentPort?.postMessage(refused / ((performance.now() - begun) / 1000));
  parentPort?.close();
});

function send(port: number, bodies: readonly string[], index: number): void {
  if (over) return;
  const body = bodies[index % bodies.length] ?? "";
  const socket = connect({ port, host: "127.0.0.1", localAddress: `127.0.0.${2 + index}` });
  sockets.add(socket);
  socket.on("error", () => undefined);
  socket.on("data", () => (refused += 1));
  socket.on("close", () => {
    sockets.delete(socket);
    setImmediate(send, port, bodies, index);
  });
  socket.write(
    `POST /v1/scram/orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
