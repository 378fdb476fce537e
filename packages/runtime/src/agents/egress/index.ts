export {
  type EgressCalls,
  type EgressEnd,
  type EgressRefusal,
  type RefusedHost,
  refusedWords,
} from "./egress-calls.ts";
export { EgressDesk, type EgressDeskOptions, recordConnection } from "./egress-desk.ts";
export type { EgressDoor, OpenEgress } from "./egress-door.ts";
export { EgressProcess, type EgressProcessOptions } from "./egress-process.ts";
export { runEgress, type EgressProgramOptions } from "./egress-program.ts";
export { EgressProxy, type EgressProxyOptions } from "./egress-proxy.ts";
