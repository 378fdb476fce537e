export { parseListenAddress } from "./listen-address.ts";
export { type OrderServer, postOrder } from "./order-client.ts";
export { ScramDoor, type ScramStatus } from "./scram-routes.ts";
export { ScramServer, type TlsMaterial } from "./server.ts";
