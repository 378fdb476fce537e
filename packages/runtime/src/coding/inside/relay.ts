import { writeSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";

/**
 * Runs in the sandbox: hands connections on from the loopback, which is all the network there is, to
 * the socket of the model proxy. It needs no module of ours, and holds no secret.
 */
const [port = "", path = ""] = process.argv.slice(2);

const server = createServer({ allowHalfOpen: true }, (inner) => {
  const outer = connect({ path, allowHalfOpen: true });
  join(inner, outer);
  join(outer, inner);
});
server.listen(Number(port), "127.0.0.1", () => {
  writeSync(1, "ready\n");
});

function join(from: Socket, to: Socket): void {
  from.pipe(to);
  from.on("error", () => {
    to.destroy();
  });
  from.on("close", () => {
    to.end();
  });
}
