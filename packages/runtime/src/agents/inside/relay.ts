import { writeSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";

/**
 * Runs in the sandbox: hands connections on from the loopback, which is all the network there is, to
 * the sockets of the proxies. It needs no module of ours, and holds no secret.
 *
 * Its words: a port and the path of a socket, as often as there are proxies.
 */
const words = process.argv.slice(2);
let waiting = words.length / 2;

for (let at = 0; at < words.length; at += 2) relay(Number(words[at]), words[at + 1] ?? "");

function relay(port: number, path: string): void {
  const server = createServer({ allowHalfOpen: true }, (inner) => {
    const outer = connect({ path, allowHalfOpen: true });
    join(inner, outer);
    join(outer, inner);
  });
  server.listen(port, "127.0.0.1", () => {
    waiting -= 1;
    if (waiting === 0) writeSync(1, "ready\n");
  });
}

function join(from: Socket, to: Socket): void {
  from.pipe(to);
  from.on("error", () => {
    to.destroy();
  });
  from.on("close", () => {
    to.end();
  });
}
