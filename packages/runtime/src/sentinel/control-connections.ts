import { chmodSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { type ErrorCode, isSovereignError, type JsonValue, parseFormat } from "@sovereign/core";
import { removeAt } from "../system/index.ts";
import { isAlive, type ProcessIdentity } from "../process/index.ts";
import {
  Frames,
  readFrame,
  type ClientMessage,
  clientMessage,
  SENTINEL_SOCKET,
  type SentinelMessage,
} from "../scram/index.ts";
import { every } from "../system/index.ts";
import { Turns } from "./turns.ts";

/** Nobody needs more at once; what one of them may have us hold is bounded, too. */
const LINKS_MAX = 256;
/** Newcomers that the kernel holds for us; the others are told to come again. */
const BACKLOG = 1024;
const MESSAGE_BYTES_MAX = 256 * 1024;
/** Read and not answered yet; with more, no more is read of this link. */
const WAITING_MAX = 64;
const WAITING_BYTES_MAX = 256 * 1024;
/** Written and not taken by the other side; with more, it is cut off. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** Who has not said who they are after so many wake-ups of ours is cut off. */
const WAKE_UP_MS = 1000;
const MUTE_WAKE_UPS = 5;
/** How canonical JSON of an order begins: its first member. */
const ORDER_BEGINS = Buffer.from('{"envelope":');

interface LinkHandlers {
  readonly onMessage: (link: Link, message: ClientMessage) => Promise<JsonValue>;
  readonly onGarbage: (link: Link, error: Error) => void;
}

interface ServerHandlers extends LinkHandlers {
  readonly onClose: (link: Link) => void;
  /** The links under which something lives: none of them gives way to another. */
  readonly needed: () => ReadonlySet<string>;
}

/** Serve whoever comes over the socket in the working folder; `links` has those that are there. */
export async function listenForLinks(
  links: Map<string, Link>,
  handlers: ServerHandlers,
): Promise<Server> {
  let next = 0;
  const turns = new Turns();
  // We hold the lock: a socket that is there is a dead one's, and all else is none of ours.
  removeAt(SENTINEL_SOCKET);
  const server = createServer((socket) => {
    turns.newcomer();
    if (links.size >= LINKS_MAX && !makeRoom(links, handlers.needed())) {
      socket.destroy();
      return;
    }
    const link = new Link(`link-${next++}`, socket, handlers, turns);
    links.set(link.id, link);
    socket.on("close", () => {
      links.delete(link.id);
      handlers.onClose(link);
    });
  });
  const ending = every(WAKE_UP_MS, () => {
    const needed = handlers.needed();
    for (const link of links.values()) if (!needed.has(link.id)) link.endIfMute();
  });
  server.once("close", ending);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path: SENTINEL_SOCKET, backlog: BACKLOG }, resolve);
  });
  chmodSync(SENTINEL_SOCKET, 0o600);
  return server;
}

/**
 * Whoever comes is let in: they may have an order. The oldest of those gives way that never said who
 * they are; else the oldest of the process that has most.
 */
function makeRoom(links: Map<string, Link>, needed: ReadonlySet<string>): boolean {
  const owners = new Map<number | null, Link[]>();
  for (const link of links.values()) {
    if (needed.has(link.id) || link.reads || link.busy) continue;
    const owner = link.process?.pid ?? null;
    const others = owners.get(owner);
    if (others === undefined) owners.set(owner, [link]);
    else others.push(link);
  }
  const most = [...owners.values()].sort((one, other) => other.length - one.length)[0];
  const victim = (owners.get(null) ?? most)?.[0];
  if (victim === undefined) return false;
  links.delete(victim.id);
  victim.end();
  return true;
}

export function pushToAll(links: ReadonlyMap<string, Link>, message: SentinelMessage): void {
  for (const link of links.values()) link.push(message);
}

/** One connection of a control, of an operator's command, or of an embedding program. */
export class Link {
  readonly id: string;
  readonly #frames: Frames;
  readonly #handlers: LinkHandlers;
  readonly #turns: Turns;
  readonly #queue = Turns.queue();
  /** Messages that were read and not answered, and the bytes of those that were not begun. */
  #waiting = 0;
  #waitingBytes = 0;
  #orders = 0;
  #mute = 0;
  #process: ProcessIdentity | null = null;
  /** Whether it reads what other machines order, and so renews the lease. */
  reads = false;

  constructor(id: string, socket: Socket, handlers: LinkHandlers, turns: Turns) {
    this.id = id;
    this.#handlers = handlers;
    this.#turns = turns;
    this.#frames = new Frames(
      socket,
      (_, content) => {
        this.#take(content);
      },
      (error) => {
        handlers.onGarbage(this, error);
      },
      MESSAGE_BYTES_MAX,
    );
    socket.on("close", () => {
      turns.forget(this.#queue);
    });
  }

  /** Set by its first message; null for a process that is not there. */
  get process(): ProcessIdentity | null {
    return this.#process;
  }

  set process(told: ProcessIdentity | null) {
    this.#process = told !== null && isAlive(told) ? told : null;
  }

  /** An order of it is in our hands. */
  get busy(): boolean {
    return this.#orders > 0;
  }

  end(): void {
    this.#frames.socket.destroy();
  }

  /**
   * To be called once a second: whoever sends half a message, or nothing, holds a place for a while.
   * Wake-ups are counted, because what was sent to one who was not scheduled is not read yet.
   */
  endIfMute(): void {
    if (this.#process !== null || this.#waiting > 0) return;
    this.#mute += 1;
    if (this.#mute > MUTE_WAKE_UPS) this.end();
  }

  push(message: SentinelMessage): void {
    // Who does not read what we say must not fill our memory with it.
    if (this.#frames.socket.writableLength > UNREAD_BYTES_MAX) this.end();
    else this.#frames.sendJson(message);
  }

  #take(content: Buffer): void {
    this.#mute = 0;
    const urgent = content.subarray(0, ORDER_BEGINS.length).equals(ORDER_BEGINS);
    this.#count(1, content.length, urgent);
    this.#turns.add(this.#queue, urgent, () => {
      this.#count(0, -content.length, false);
      void this.#handle(content).finally(() => {
        this.#count(-1, 0, urgent);
      });
    });
  }

  #count(messages: 1 | 0 | -1, bytes: number, order: boolean): void {
    this.#waiting += messages;
    this.#waitingBytes += bytes;
    if (order) this.#orders += messages;
    const { socket } = this.#frames;
    const full = this.#waiting > WAITING_MAX || this.#waitingBytes > WAITING_BYTES_MAX;
    if (full && !socket.isPaused()) socket.pause();
    else if (!full && socket.isPaused()) socket.resume();
  }

  async #handle(content: Buffer): Promise<void> {
    let message: ClientMessage;
    try {
      message = parseFormat(clientMessage, readFrame(content), "message");
    } catch (error) {
      this.#handlers.onGarbage(this, error as Error);
      this.end();
      return;
    }
    try {
      const result = await this.#handlers.onMessage(this, message);
      this.push({ t: "reply", id: message.id, result });
    } catch (error) {
      const code: ErrorCode = isSovereignError(error) ? error.code : "ERR_SCRAM_SENTINEL_LOST";
      const text = error instanceof Error ? error.message : "unknown failure";
      this.push({ t: "refusal", id: message.id, code, message: text });
    }
  }
}
