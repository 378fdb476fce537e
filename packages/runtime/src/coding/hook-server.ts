import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";

/** What a hook is told: the word says what it does with the answer. */
export interface HookReply {
  readonly word: "allow" | "deny" | "seen";
  readonly answer: string;
  /** Why, in words: some agents hand their model what the hook writes on standard error. */
  readonly reason: string;
}

const BODY_BYTES_MAX = 16 * 1024 * 1024;
const CONNECTIONS_MAX = 64;
/** For a hook to say what it was told. */
const BODY_MS = 10_000;

/**
 * The run's socket: each connection is one hook, which sends what it was told and reads one answer.
 * Everything in the sandbox can connect to it, so what comes is untrusted, and whoever connects can
 * only get an answer to what they ask themselves.
 */
export class HookServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(answer: (body: string) => Promise<HookReply>) {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#serve(socket, answer);
    });
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  async listen(path: string): Promise<void> {
    rmSync(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(path, resolve);
    });
    // Its folder is ours alone; who sees it in a sandbox is another user.
    chmodSync(path, 0o666);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(socket: Socket, answer: (body: string) => Promise<HookReply>): void {
    this.#sockets.add(socket);
    const parts: Buffer[] = [];
    let bytes = 0;
    const late = setTimeout(() => {
      socket.destroy();
    }, BODY_MS);
    socket.on("close", () => {
      clearTimeout(late);
      this.#sockets.delete(socket);
    });
    socket.on("error", () => {
      socket.destroy();
    });
    socket.on("data", (part) => {
      bytes += part.length;
      if (bytes > BODY_BYTES_MAX) socket.destroy();
      else parts.push(part);
    });
    socket.on("end", () => {
      clearTimeout(late);
      answer(Buffer.concat(parts).toString("utf8")).then(
        (reply) => {
          const said = Buffer.from(reply.answer);
          const why = reply.reason.replaceAll(/\s+/g, " ");
          socket.end(Buffer.concat([Buffer.from(`${reply.word} ${said.length} ${why}\n`), said]));
        },
        () => {
          // Without an answer the hook denies.
          socket.destroy();
        },
      );
    });
  }
}
