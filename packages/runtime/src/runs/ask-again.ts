import type { ErrorCode } from "@sovereign/core";

/** The authority refuses these; the kernel then refuses them too, and records why. */
export const UNISSUED: ReadonlySet<ErrorCode> = new Set(["ERR_BINDING_REFUSED"]);

/**
 * What a new permission cures: the kernel has read the key log anew when it says that a key has ended,
 * and a machine that slept may find that its permission has.
 */
export const ASK_AGAIN: ReadonlySet<ErrorCode> = new Set([
  "ERR_ROLE_KEY_REVOKED",
  "ERR_BINDING_KEY_REVOKED",
  "ERR_ROLE_EXPIRED",
  "ERR_BINDING_EXPIRED",
]);
