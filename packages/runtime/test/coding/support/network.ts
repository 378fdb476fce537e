/**
 * What the network of a sandbox counts, as a shell's command: datagrams, by which names are looked up,
 * and packets for which there was no way, IPv4 and IPv6.
 */
export const NETWORK = `awk '/^(Udp|Ip):/ { if (!($1 in head)) head[$1] = $0; else { n = split(head[$1], k); \
split($0, v); for (i = 2; i <= n; i++) if (k[i] ~ /OutDatagrams|OutNoRoutes/) print $1 k[i] "=" v[i] } }' \
/proc/net/snmp; awk '/OutNoRoutes|Udp6OutDatagrams/ { print $1 "=" $2 }' /proc/net/snmp6`;

/** The counts of it, out of what a model was told. */
export function networkCounts(said: string): string[] {
  return [...said.matchAll(/(?:OutDatagrams|OutNoRoutes)=(\d+)/g)].map(([, count]) => count ?? "");
}
