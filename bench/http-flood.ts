import { connect, type Socket } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

/** Connections of a thread of their own that send without a pause, until told to end. */
const { port, bodies, connections } = workerData as {
  port: number;
  bodies: readonly string[];
  connections: number;
};
const sockets = new Set<Socket>();
const begun = performance.now();
let over = false;
let refused = 0;

for (let index = 0; index < connections; index++) send(index);
parentPort?.once("message", () => {
  over = true;
  for (const socket of sockets) socket.destroy();
  parentPort?.postMessage(refused / ((performance.now() - begun) / 1000));
  parentPort?.close();
});

function send(index: number): void {
  if (over) return;
  const body = bodies[index % bodies.length] ?? "";
  const socket = connect({ port, host: "127.0.0.1", localAddress: `127.0.0.${2 + index}` });
  sockets.add(socket);
  socket.on("error", () => undefined);
  socket.on("data", () => (refused += 1));
  socket.on("close", () => {
    sockets.delete(socket);
    setImmediate(send, index);
  });
  socket.write(
    `POST /v1/scram/orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
