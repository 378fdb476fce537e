import type { Socket } from "node:net";
import {
  cutText,
  type ErrorCode,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  SovereignError,
} from "@sovereign/core";
import { LineChannel } from "./channel.ts";

/** A proxy's side of the connection to the control that started it. */
export class ControlLine<A extends { readonly id: number }> {
  /** Resolved once the control is gone. */
  readonly ended: Promise<void>;
  readonly #channel: LineChannel;
  readonly #waiting = new Map<number, (answer: A | null) => void>();
  readonly #code: ErrorCode;
  readonly #lost: string;
  #next = 0;

  /**
   * @param onMessage called in order; what it throws ends the connection
   * @param code of what is no error of ours, and of a question that nobody is there to answer
   * @param lost what is said then
   */
  constructor(
    control: Socket,
    onMessage: (message: JsonValue) => void,
    { code, lost }: { readonly code: ErrorCode; readonly lost: string },
  ) {
    this.#code = code;
    this.#lost = lost;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.ended = promise;
    this.#channel = new LineChannel(control, onMessage, () => {
      for (const answer of this.#waiting.values()) answer(null);
      resolve(undefined);
    });
    this.#channel.send({ type: "ready" });
  }

  /** Take the control's answer to a question of ours. */
  answered(answer: A): void {
    this.#waiting.get(answer.id)?.(answer);
    this.#waiting.delete(answer.id);
  }

  /** @throws the code of what went wrong where nobody is there to answer */
  async ask(question: JsonObject): Promise<A> {
    const id = this.#next++;
    const { promise, resolve } = Promise.withResolvers<A | null>();
    this.#waiting.set(id, resolve);
    this.#channel.send({ ...question, id });
    const answer = await promise;
    if (answer === null) throw new SovereignError(this.#code, this.#lost);
    return answer;
  }

  /** Do what the control asks for, and say how it ended. */
  async carryOut(id: number, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
      this.#channel.send({ type: "done", id });
    } catch (error) {
      const code = isSovereignError(error) ? error.code : this.#code;
      const why = error instanceof Error ? cutText(error.message, 1000) : "unknown";
      this.#channel.send({ type: "failed", id, code, reason: why });
    }
  }
}
