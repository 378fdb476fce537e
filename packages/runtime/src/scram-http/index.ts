export { Connections, sourceOf } from "./connections.ts";
export { isLocal, type ListenAddress, parseListenAddress } from "./listen-address.ts";
export { type OrderServer, postOrder } from "./order-client.ts";
export { RateLimits } from "./rate-limits.ts";
export { checkCaller } from "./request.ts";
export { ScramDoor, type ScramStatus } from "./scram-routes.ts";
export { refuseBytes, removeDeadSocket, ScramServer, type TlsMaterial } from "./server.ts";
