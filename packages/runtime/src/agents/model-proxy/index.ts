export { ModelCallDesk, type ModelCallDeskOptions } from "./desk.ts";
export { type ProxyLimits, proxyLimits } from "./limits.ts";
export type {
  ModelCallOutcome,
  ModelCallRequest,
  ModelCalls,
  ModelCallVerdict,
} from "./model-calls.ts";
export { priceOf } from "./price.ts";
export { type AdmittedRun, ModelProxy } from "./proxy.ts";
export {
  ModelProxyProcess,
  type ModelProxyProcessOptions,
  type ProxiedRun,
  type ProxyGrant,
} from "./proxy-process.ts";
export { runModelProxy } from "./proxy-program.ts";
export { type VendorInput, type VendorReport, VendorStore } from "./vendor-store.ts";
export type { OpenedVendor, VendorAuth } from "./vendor.ts";
