import { deepFreeze } from "@sovereign/core";
import { leaveUnheard } from "../../kernel/index.ts";
import type { SessionOptions } from "./open-session.ts";

/**
 * The same options, with a listener that ends nothing and changes nothing: what it throws is lost,
 * and what it is told is a copy that nobody else holds.
 */
export function withQuietListener<O extends Pick<SessionOptions, "onProgress">>(options: O): O {
  const { onProgress } = options;
  const quiet: SessionOptions["onProgress"] = (progress) => {
    try {
      // It says that it answers nothing; it may be an async function all the same.
      const told: (one: typeof progress) => unknown = onProgress;
      leaveUnheard(told(deepFreeze(structuredClone(progress))));
    } catch {
      // It is told in vain; the run goes on.
    }
  };
  return { ...options, onProgress: quiet };
}
