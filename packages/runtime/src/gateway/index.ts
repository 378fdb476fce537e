export { Gateway, type GatewayOptions, type GrantOptions } from "./gateway.ts";
export {
  GatewayProcess,
  type GatewayProcessOptions,
  type OpenGrant,
  type StepGrant,
} from "./gateway-process.ts";
export { isOurHeader } from "./http.ts";
export { type GatewayProgramOptions, runGateway } from "./gateway-program.ts";
