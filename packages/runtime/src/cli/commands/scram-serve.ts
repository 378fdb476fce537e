import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { describeWatch } from "../lease-text.ts";
import type { ScramServeEvent } from "../../services/index.ts";

const LISTEN = "127.0.0.1:7433";

interface ServeFlags {
  readonly listen: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly insecurePlaintext?: boolean;
  readonly host?: readonly string[];
}

const HELP = `
POST /v1/scram/orders takes a signed order. GET /v1/scram/status shows the state. GET /healthz shows
a monitor if work may run. There are no passwords: an order's signatures authorise it. The server
accepts no reset. Ctrl-C ends the server; runs and the sentinel continue. With DATABASE_URL the
server also runs "sovereign nodes watch", so that this machine reads the other machines' orders.`;

export function serveCommand(scram: Command, { services, output, signal }: CommandContext): void {
  scram
    .command("serve")
    .description("accept signed orders over HTTP")
    .option("--listen <address>", "ADDRESS:PORT, [ADDRESS]:PORT or unix:PATH", LISTEN)
    .option(
      "--tls-cert <file>",
      "the server's certificate chain, as PEM; needed to serve other machines",
    )
    .option("--tls-key <file>", "the private key of --tls-cert, as PEM")
    .option("--client-ca <file>", "accept only clients certified by this CA, as PEM")
    .option("--host <name...>", "more host names that the server answers to")
    .option(
      "--insecure-plaintext",
      "serve other machines without TLS; others on the network can read the orders",
    )
    .addHelpText("after", HELP)
    .action(async (flags: ServeFlags) => {
      await services.scramServe({
        listen: flags.listen,
        tlsCert: flags.tlsCert ?? null,
        tlsKey: flags.tlsKey ?? null,
        clientCa: flags.clientCa ?? null,
        plaintext: flags.insecurePlaintext ?? false,
        names: flags.host ?? [],
        signal,
        onEvent: (event) => {
          if (output.json) output.printJson(event);
          else output.print(lineOf(event));
        },
      });
    });
}

function lineOf(event: ScramServeEvent): string {
  switch (event.event) {
    case "listening": {
      const none = "  (no operator or architect is enrolled: every order will be refused)";
      return `listening: ${event.url}${event.keys === 0 ? none : ""}`;
    }
    case "sentinel.lost":
      return "the sentinel does not answer: orders wait for the next one";
    case "sentinel.back":
      return "the sentinel is there";
    case "recorded":
      return "the ledger has it";
    case "watching":
    case "unheard":
    case "heard":
    case "unwatched":
      return describeWatch(event);
    case "stopped": {
      const { event: told } = event.outcome as { event: Record<string, unknown> };
      return `${String(told["scram_state"])}  ${String(told["event_id"])}  ${String(told["reason"])}`;
    }
  }
}
