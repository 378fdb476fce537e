import type { Socket } from "node:net";
import { type ErrorCode, isSovereignError, type JsonValue, parseFormat } from "@sovereign/core";
import type { ProcessIdentity } from "../../process/index.ts";
import { Frames, readFrame } from "../frames.ts";
import { type ClientMessage, clientMessage, type SentinelMessage } from "../protocol.ts";

/** One connection of a control, of an operator's command, or of an embedding program. */
export class Link {
  readonly id: string;
  readonly #frames: Frames;
  /** Set by its first message. */
  process: ProcessIdentity | null = null;

  constructor(
    id: string,
    socket: Socket,
    handlers: {
      onMessage: (link: Link, message: ClientMessage) => Promise<JsonValue>;
      onGarbage: (link: Link, error: Error) => void;
    },
  ) {
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
