import { setTimeout as sleep } from "node:timers/promises";
import { type Envelope, SovereignError, fixClass } from "@sovereign/core";
import { giveOrder, type OrderOutcome } from "./give-order.ts";
import { ScramLink } from "./sentinel-link.ts";
import type { WorkOwner } from "./scope.ts";

/** Ends one kind of work of this program. It is given until the deadline, in milliseconds. */
export type TerminationHandler = (deadlineMs: number) => void | Promise<void>;

/**
 * A program of others under the kill switch.
 *
 * Each kind of work that it does is registered with a handler that ends it. When the switch trips,
 * all handlers are called at once; a handler that fails, or has not ended near the deadline, has the
 * whole program killed by the sentinel. Hooks are called after the kill, and kill nobody.
 *
 * Where several machines share a database, the same happens when the lease of this one ends: it is
 * renewed by controls of this node, never by the program itself, and without it nothing is registered.
 */
export class ScramMember {
  readonly #link: ScramLink;
  readonly #owner: WorkOwner;
  readonly #handlers = new Map<string, TerminationHandler>();

  /** @param link a connection of its own */
  constructor(link: ScramLink, owner: WorkOwner) {
    ScramLink.assertMade(link);
    this.#link = link;
    // A copy: whose work this is stays what it was when it was registered.
    this.#owner = Object.freeze({ tenant_id: owner.tenant_id, run_id: owner.run_id });
    link.onTerminate = (pathId, deadlineMs) => {
      void this.#terminate(pathId, deadlineMs);
    };
    Object.freeze(this);
  }

  /** Whether work may begin now; about a microsecond, so to be asked before each piece of it. */
  preflight(): ReturnType<ScramLink["preflight"]> {
    return this.#link.preflight(this.#owner);
  }

  /**
   * Put an execution path on the sentinel's list. Its work may begin when this resolves.
   *
   * @param id 1 to 128 of A-Z a-z 0-9 _ . -
   * @throws ERR_SCRAM_TRIPPED, ERR_SCRAM_LEASE, ERR_SCRAM_SENTINEL_LOST
   */
  registerExecutionPath(id: string, handler: TerminationHandler): Promise<void> {
    return this.#register(id, handler, true);
  }

  /** Have a hook called after every kill, for at most a second. @throws as above */
  registerTerminationHook(id: string, hook: TerminationHandler): Promise<void> {
    return this.#register(id, hook, false);
  }

  /** Take a path or hook off the list: its work has ended. */
  async unregister(id: string): Promise<void> {
    this.#handlers.delete(id);
    await this.#link.request({ t: "unregister", path_id: id });
  }

  /**
   * Stop what the order covers: a `scram-order` with its signatures, as `sovereign scram prepare`
   * writes it. As from everybody on this machine, one that is not authorised stops everything.
   *
   * @returns when it is dead: the event and the sentinel's receipt; or which signature is missing
   * @throws ERR_SCRAM_ORDER_MALFORMED, ERR_SCRAM_ORDER_REPLAYED, ERR_SCRAM_SENTINEL_LOST
   */
  stop(order: Envelope): Promise<OrderOutcome> {
    return giveOrder(this.#link, "order", order);
  }

  close(): void {
    this.#link.close();
  }

  async #register(id: string, handler: TerminationHandler, path: boolean): Promise<void> {
    if (this.#handlers.has(id)) {
      throw new SovereignError("ERR_FORMAT_INVALID", `The path ${id} is registered already.`);
    }
    this.#handlers.set(id, handler);
    try {
      await this.#link.request({ t: "register", path_id: id, handler: path, ...this.#owner });
    } catch (error) {
      this.#handlers.delete(id);
      throw error;
    }
  }

  async #terminate(pathId: string, deadlineMs: number): Promise<void> {
    let ok = true;
    try {
      // A handler that throws at once must not keep the others from being called.
      await sleep(0);
      await this.#handlers.get(pathId)?.(deadlineMs);
    } catch {
      ok = false;
    }
    // A sentinel that is gone by now has killed the path, and asks for no answer.
    await this.#link.request({ t: "terminated", path_id: pathId, ok }).catch(() => undefined);
  }
}

fixClass(ScramMember);
