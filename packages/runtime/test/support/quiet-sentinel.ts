import { mkdirSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { Frames, ScramLink, SENTINEL_SOCKET } from "../../src/scram/index.ts";

/** What answers a control as a sentinel does, and has no engine: for tests that need a connection alone. */
export class QuietSentinel {
  readonly link: ScramLink;
  readonly #server: Server;

  private constructor(link: ScramLink, server: Server) {
    this.link = link;
    this.#server = server;
  }

  /** @param folder the kill switch's, which is made */
  static async open(folder: string): Promise<QuietSentinel> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const welcome = { link_id: "link-1", name: "quiet", pid: process.pid, lease: true };
    const server = createServer((socket) => {
      const frames = new Frames(socket, (_kind, content) => {
        const { t, id } = JSON.parse(content.toString()) as { t: string; id: number };
        const refused = { t: "refusal", id, code: "ERR_SANDBOX_UNAVAILABLE", message: "no engine" };
        frames.sendJson(
          t === "engine" ? refused : { t: "reply", id, result: t === "hello" ? welcome : null },
        );
      });
    });
    await new Promise<void>((resolve) => server.listen(join(folder, SENTINEL_SOCKET), resolve));
    const link = await ScramLink.find(folder);
    if (link === null) throw new Error("nobody answers");
    return new QuietSentinel(link, server);
  }

  close(): void {
    this.link.close();
    this.#server.close();
  }
}
