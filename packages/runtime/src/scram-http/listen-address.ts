import { isIP } from "node:net";
import { SovereignError } from "@sovereign/core";

const PORT_MAX = 65_535;

/** Where a server listens. */
export type ListenAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/**
 * `ADDRESS:PORT` with a numeric address or `localhost`, `[ADDRESS]:PORT`, or `unix:PATH`. Names are
 * not looked up: what they stand for may change, and with it who can reach us.
 *
 * @throws ERR_HTTP_CONFIG
 */
export function parseListenAddress(text: string): ListenAddress {
  if (text.startsWith("unix:") && text.length > 5) return { kind: "unix", path: text.slice(5) };
  const [, bracketed, plain, digits = ""] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d+)$/.exec(text) ?? [];
  const named = bracketed ?? plain ?? "";
  const host = named === "localhost" ? "127.0.0.1" : named;
  const port = Number(digits);
  const right = bracketed === undefined ? isIP(host) === 4 : isIP(host) === 6;
  if (right && port <= PORT_MAX) return { kind: "tcp", host, port };
  const message = `Expected ADDRESS:PORT with a numeric address, [ADDRESS]:PORT or unix:PATH, found ${text}.`;
  throw new SovereignError("ERR_HTTP_CONFIG", message);
}

/** True where only this machine can reach it. */
export function isLocal(address: ListenAddress): boolean {
  if (address.kind === "unix") return true;
  return address.host.startsWith("127.") || address.host === "::1";
}
