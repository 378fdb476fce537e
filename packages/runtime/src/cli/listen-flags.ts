import type { Command } from "commander";

/** Where and for whom a server of ours listens, as the command line says it. */
export interface ListenFlags {
  readonly listen: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly insecurePlaintext?: boolean;
  readonly host?: readonly string[];
}

/** @param stolen what others on the network can do where there is no TLS */
export function addListenFlags(command: Command, listen: string, stolen: string): Command {
  return command
    .option("--listen <address>", "ADDRESS:PORT, [ADDRESS]:PORT or unix:PATH", listen)
    .option(
      "--tls-cert <file>",
      "the server's certificate chain, as PEM; needed to serve other machines",
    )
    .option("--tls-key <file>", "the private key of --tls-cert, as PEM")
    .option("--client-ca <file>", "accept only clients certified by this CA, as PEM")
    .option("--host <name...>", "more host names that the server answers to")
    .option(
      "--insecure-plaintext",
      `serve other machines without TLS; others on the network can ${stolen}`,
    );
}

/** What the flags come to. Files are PEM. */
export function listenOptions(flags: ListenFlags): {
  readonly listen: string;
  readonly tlsCert: string | null;
  readonly tlsKey: string | null;
  readonly clientCa: string | null;
  readonly plaintext: boolean;
  readonly names: readonly string[];
} {
  return {
    listen: flags.listen,
    tlsCert: flags.tlsCert ?? null,
    tlsKey: flags.tlsKey ?? null,
    clientCa: flags.clientCa ?? null,
    plaintext: flags.insecurePlaintext ?? false,
    names: flags.host ?? [],
  };
}
