export { EgressDesk, type EgressDeskOptions } from "./egress-desk.ts";
export { EgressProxy, type EgressLimits, type EgressProxyOptions } from "./egress-proxy.ts";
