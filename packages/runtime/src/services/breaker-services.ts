import type { Breaker } from "../runs/index.ts";
import type { Opened } from "./opened.ts";

export interface BreakerServices {
  /** Which hosts are left alone because calls to them failed again and again. */
  listBreakers(tenantId: string): Promise<readonly Breaker[]>;
}

export function breakerServices(opened: Opened): BreakerServices {
  return { listBreakers: (tenantId) => opened(({ store }) => store.breakers(tenantId).list()) };
}
