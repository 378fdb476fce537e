import { lookup as lookupName } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { type ErrorCode, SovereignError } from "@sovereign/core";

/** Not for everybody to reach: RFC 6890 and its successors; all that is not of 2000::/3 for IPv6. */
const RESERVED_V4: readonly (readonly [string, number])[] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
  // Numbers of the internet with which clouds serve their own machines: Azure, and IBM Cloud.
  ["168.63.129.16", 32],
  ["161.26.0.0", 16],
  ["166.8.0.0", 14],
];
/** Of 2000::/3: tunnels that hold another address, and documentation. */
const RESERVED_V6: readonly (readonly [string, number])[] = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
];

const reserved = new BlockList();
for (const [net, bits] of RESERVED_V4) reserved.addSubnet(net, bits, "ipv4");
for (const [net, bits] of RESERVED_V6) reserved.addSubnet(net, bits, "ipv6");
const globalV6 = new BlockList();
globalV6.addSubnet("2000::", 3, "ipv6");
const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Whether an address is one of the internet's, and neither private, link-local nor special. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !reserved.check(address, "ipv4");
  if (family !== 6) return false;
  return globalV6.check(address, "ipv6") && !reserved.check(address, "ipv6");
}

export function isLoopbackAddress(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && loopback.check(address, family === 4 ? "ipv4" : "ipv6");
}

/** True for a host that means this machine, in its own words: a name that leads there does not. */
export function namesLoopback(host: string): boolean {
  return host === "localhost" || isLoopbackAddress(host.replace(/^\[(.*)\]$/, "$1"));
}

/** True for a host that is an address in its own words, or `localhost`: no name leads there. */
export function isLiteralHost(host: string): boolean {
  return host === "localhost" || isIP(host.replace(/^\[(.*)\]$/, "$1")) !== 0;
}

/** Asks for all addresses of a name, as `dns.lookup` does. */
export type Resolver = (host: string) => Promise<readonly string[]>;

export const systemResolver: Resolver = (host) =>
  new Promise((resolve, reject) => {
    lookupName(host, { all: true, order: "verbatim" }, (error, found) => {
      if (error === null) resolve(found.map(({ address }) => address));
      else reject(error);
    });
  });

/** What a host is refused by: each way out of a run has codes of its own. */
export interface AddressCodes {
  readonly address: ErrorCode;
  readonly unreachable: ErrorCode;
}

const OF_MODELS: AddressCodes = {
  address: "ERR_MODEL_ADDRESS",
  unreachable: "ERR_MODEL_UNREACHABLE",
};

/**
 * The addresses to connect to. A name of which one address is not taken is not taken at all: who
 * answers with both is trying something.
 *
 * @param host a name, or an address without brackets
 * @param allowed which addresses are taken
 * @throws the two codes; without them ERR_MODEL_ADDRESS and ERR_MODEL_UNREACHABLE
 */
export async function resolveChecked(
  host: string,
  allowed: (address: string) => boolean,
  resolver: Resolver,
  codes: AddressCodes = OF_MODELS,
): Promise<readonly string[]> {
  let found: readonly string[];
  try {
    found = isIP(host) === 0 ? await resolver(host) : [host];
  } catch (cause) {
    const { code = "no answer" } = cause as NodeJS.ErrnoException;
    const text = `${host} cannot be resolved: ${code}. Look at the name and at the network.`;
    throw new SovereignError(codes.unreachable, text, { host }, cause);
  }
  const refused = found.find((address) => !allowed(address));
  if (refused === undefined && found.length > 0) return found;
  const text = `${host}: expected public addresses, found ${refused ?? "none"}. Private, link-local and special ones are refused.`;
  throw new SovereignError(codes.address, text, { host, address: refused ?? null });
}

/** A `lookup` for `net.connect` that answers what was checked, whatever the name leads to now. */
export function fixedLookup(addresses: readonly string[]): LookupFunction {
  return (_host, options, callback) => {
    const all = addresses.map((address) => ({ address, family: isIP(address) }));
    const [first] = all;
    if (options.all === true) callback(null, all);
    else if (first !== undefined) callback(null, first.address, first.family);
    else callback(new Error("no address"), "", 4);
  };
}
