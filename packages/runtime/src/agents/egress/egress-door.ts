import type { ActionContext } from "@sovereign/core";
import type { RefusedHost } from "./egress-calls.ts";

/** A way to the hosts that policy names, while a step of a run is at work. */
export interface OpenEgress {
  /** What a client shows: the password of its proxy's URL. */
  readonly token: string;
  /** The last connection that was refused; null where none was. Whole once it is closed. */
  refused(): RefusedHost | null;
  /** Cuts what is open, and records it. */
  close(): Promise<void>;
}

/** Opens a way to hosts, for whoever carries out a step of a run. */
export interface EgressDoor {
  /**
   * @param socket where the proxy listens: at most 107 bytes, in a folder that is ours alone
   * @param context the step whose connections these are
   * @throws ERR_EGRESS_PROXY
   */
  open(socket: string, context: ActionContext): Promise<OpenEgress>;
}
