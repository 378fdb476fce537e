export {
  type AdmittedRun,
  ModelCallDesk,
  type ModelCallDeskOptions,
  type ModelCallOutcome,
  type ModelCallRequest,
  type ModelCalls,
  type ModelCallVerdict,
  ModelProxy,
  ModelProxyProcess,
  type ModelProxyProcessOptions,
  type OpenedVendor,
  priceOf,
  type ProxiedRun,
  type ProxyGrant,
  type ProxyLimits,
  proxyLimits,
  runModelProxy,
  type VendorAuth,
  type VendorInput,
  type VendorReport,
  VendorStore,
} from "./model-proxy/index.ts";
export {
  fixedLookup,
  isLiteralHost,
  isPublicAddress,
  namesLoopback,
  resolveChecked,
  type Resolver,
  systemResolver,
} from "./addresses.ts";
export {
  type EgressCalls,
  EgressDesk,
  type EgressDeskOptions,
  type EgressDoor,
  type EgressEnd,
  EgressProcess,
  type EgressProcessOptions,
  type EgressProgramOptions,
  EgressProxy,
  type EgressProxyOptions,
  type EgressRefusal,
  type OpenEgress,
  recordConnection,
  type RefusedHost,
  refusedWords,
  runEgress,
} from "./egress/index.ts";
export { type OpenedSecret, type SecretReport, SecretStore } from "./secret-store.ts";
export { LineChannel } from "./channel.ts";
export { ControlLine } from "./control-line.ts";
export { ProxyChild } from "./proxy-child.ts";
export { fillSecrets, holdsSecret, secretsNamedIn } from "./secret-reference.ts";
export { EGRESS, egressVariables, RELAY, SOCKETS, START_HELPER } from "./relay.ts";
