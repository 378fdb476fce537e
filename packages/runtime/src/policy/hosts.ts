import { SovereignError, quoted } from "@sovereign/core";
import { matchesGlob } from "./glob.ts";

/** Labels of letters, digits, `-` and `_`, joined by dots: no user, no path, no other characters. */
const LABEL = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?";
const NAME = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
const IPV6 = /^\[[0-9a-f:.]{2,45}\]$/;
const PORT = /^[1-9]\d{0,4}$/;

/** A host and its port, null where none is named. */
interface Host {
  readonly name: string;
  readonly port: string | null;
}

/**
 * Read the host that an action names.
 *
 * @param text untrusted
 * @throws ERR_HOST_REFUSED for anything that is not plainly a host, or a host and a port: a name
 *   with `#`, `@`, `/` or a space in it means one host here and another to who connects
 */
export function parseHost(text: string): Host {
  const host = splitPort(text.toLowerCase());
  const isPort = host.port === null || (PORT.test(host.port) && Number(host.port) < 65_536);
  if (isPort && text.length <= 260 && (NAME.test(host.name) || IPV6.test(host.name))) return host;
  throw new SovereignError(
    "ERR_HOST_REFUSED",
    `The host ${quoted(text)} is refused: expected a name such as api.example.org, an address, or one with :port.`,
  );
}

/**
 * True where a pattern of `hosts` is meant for a host: `*` is any run of a name's characters, and
 * a port must be named, `*` for any.
 */
export function matchesHost(pattern: string, host: Host): boolean {
  const wanted = splitPort(pattern.toLowerCase());
  if ((wanted.port === null) !== (host.port === null)) return false;
  return matchesGlob(wanted.name, host.name) && matchesGlob(wanted.port ?? "", host.port ?? "");
}

/** Why no host can ever match a pattern; null where one can. */
export function neverMatchesHost(pattern: string): string | null {
  const wanted = splitPort(pattern.toLowerCase());
  const name = wanted.name.replaceAll(/[*?]+/g, "a");
  const port = wanted.port?.replaceAll(/[*?]+/g, "1") ?? null;
  const isName = NAME.test(name) || IPV6.test(name);
  if (isName && (port === null || PORT.test(port))) return null;
  return "expected a host such as api.example.org or *.example.org, with :port where it has one";
}

function splitPort(text: string): Host {
  const at = text.lastIndexOf(":");
  if (at < 0 || text.endsWith("]")) return { name: text, port: null };
  return { name: text.slice(0, at), port: text.slice(at + 1) };
}
