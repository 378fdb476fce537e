import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { type ErrorCode, isSovereignError, type JsonValue, parseFormat } from "@sovereign/core";
import type { ProcessIdentity } from "../../process/index.ts";
import { Frames, readFrame } from "../frames.ts";
import {
  type ClientMessage,
  clientMessage,
  SENTINEL_SOCKET,
  type SentinelMessage,
} from "../protocol.ts";

interface LinkHandlers {
  readonly onMessage: (link: Link, message: ClientMessage) => Promise<JsonValue>;
  readonly onGarbage: (link: Link, error: Error) => void;
}

/** Serve whoever comes over the socket in the working folder; `links` has those that are there. */
export async function listenForLinks(
  links: Map<string, Link>,
  handlers: LinkHandlers & { readonly onClose: (link: Link) => void },
): Promise<Server> {
  let next = 0;
  // We hold the lock: a socket that is there is a dead one's.
  rmSync(SENTINEL_SOCKET, { force: true });
  const server = createServer((socket) => {
    const link = new Link(`link-${next++}`, socket, handlers);
    links.set(link.id, link);
    socket.on("close", () => {
      links.delete(link.id);
      handlers.onClose(link);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(SENTINEL_SOCKET, resolve);
  });
  chmodSync(SENTINEL_SOCKET, 0o600);
  return server;
}

/** One connection of a control, of an operator's command, or of an embedding program. */
export class Link {
  readonly id: string;
  readonly #frames: Frames;
  /** Set by its first message. */
  process: ProcessIdentity | null = null;
  /** Whether it reads what other machines order, and so renews the lease. */
  reads = false;

  constructor(id: string, socket: Socket, handlers: LinkHandlers) {
    this.id = id;
    this.#frames = new Frames(
      socket,
      (_, content) => {
        const message = parseFormat(clientMessage, readFrame(content), "message");
        void this.#answer(message, handlers.onMessage(this, message));
      },
      (error) => {
        handlers.onGarbage(this, error);
      },
    );
  }

  push(message: SentinelMessage): void {
    this.#frames.sendJson(message);
  }

  async #answer(message: ClientMessage, work: Promise<JsonValue>): Promise<void> {
    try {
      const result = await work;
      this.push({ t: "reply", id: message.id, result });
    } catch (error) {
      const code: ErrorCode = isSovereignError(error) ? error.code : "ERR_SCRAM_SENTINEL_LOST";
      const text = error instanceof Error ? error.message : "unknown failure";
      this.push({ t: "refusal", id: message.id, code, message: text });
    }
  }
}
