import { SovereignError } from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import type { TlsMaterial } from "../../scram-http/index.ts";

/** Files of a server's certificate, as PEM; null for none. */
export interface TlsFiles {
  readonly tlsCert: string | null;
  readonly tlsKey: string | null;
  readonly clientCa: string | null;
}

const PEM_BYTES_MAX = 1024 * 1024;

/** @throws ERR_HTTP_CONFIG, ERR_FILE_UNREADABLE */
export function readTls({ tlsCert, tlsKey, clientCa }: TlsFiles): TlsMaterial | null {
  if (tlsCert === null && tlsKey === null && clientCa === null) return null;
  if (tlsCert === null || tlsKey === null) {
    const message = "Expected both --tls-cert and --tls-key; --client-ca goes with them.";
    throw new SovereignError("ERR_HTTP_CONFIG", message);
  }
  return {
    cert: readNamed(tlsCert, PEM_BYTES_MAX),
    key: readNamed(tlsKey, PEM_BYTES_MAX),
    clientCa: clientCa === null ? null : readNamed(clientCa, PEM_BYTES_MAX),
  };
}
